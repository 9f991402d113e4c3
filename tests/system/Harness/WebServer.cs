using System.Globalization;

namespace Dataplane.SystemTests.Harness;

/// <summary>A real HTTP server in a container (Python's), that answers with its own name and the address it sees its client by.</summary>
public sealed class WebServer : IDisposable
{
    private const string Program = """
        import http.server, sys
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def do_GET(self):
                body = (sys.argv[1] + ' ' + self.client_address[0] + '\n').encode()
                self.send_response(200)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *args):
                pass
        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 128
        server = Server(('', int(sys.argv[2])), Handler)
        print('serving', flush=True)
        server.serve_forever()
        """;

    private readonly Tool _tool;

    public WebServer(Namespace at, string name, int port)
    {
        _tool = at.Start("python3", "-c", Program, name, port.ToString(CultureInfo.InvariantCulture));
        _tool.WaitFor("serving");
    }

    /// <summary>One request; gives what the server answered: its name, and the client's address.</summary>
    public static (string Server, string Client) Get(Namespace from, string url)
    {
        string[] words = from.Do("curl", "-sS", "-m", "10", url).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        return (words[0], words[1]);
    }

    public void Dispose() => _tool.Dispose();
}
