using System.Globalization;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A real HTTP server in a container (nginx), that answers with its own name and the address it sees its client by. Dispose kills it in the
/// midst of whatever it does.
/// </summary>
public sealed class WebServer : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dataplane-web-");
    private readonly Namespace _at;
    private readonly int _port;
    private readonly Tool _tool;
    private int _asked;

    /// <param name="at">The container.</param>
    /// <param name="name">What it answers with.</param>
    /// <param name="port">It listens at all addresses.</param>
    /// <param name="requests">How many requests it serves by one connection before it closes it.</param>
    public WebServer(Namespace at, string name, int port, int requests = 1000)
    {
        (_at, _port) = (at, port);
        string file = Path.Combine(_directory.FullName, "nginx.conf");
        File.WriteAllText(file, $$"""
            daemon off;
            master_process off;
            pid {{_directory.FullName}}/pid;
            error_log stderr notice;
            events { worker_connections 16384; }
            http {
              access_log off;
              keepalive_requests {{requests}};
              keepalive_timeout 1h;
              client_header_timeout 1h;
              server {
                listen {{port}} backlog=16384;
                listen [::]:{{port}} backlog=16384;
                location / { return 200 "{{name}} $remote_addr\n"; }
                location = /status { stub_status; }
              }
            }
            """);
        _at.Do("sysctl", "-qw", "net.core.somaxconn=16384", "net.ipv4.tcp_max_syn_backlog=16384");
        _tool = _at.Start("nginx", "-c", file, "-e", "stderr"); // it may have as many files open as the runtime of the tests, the most that are allowed
        _tool.WaitFor("event method"); // it listens before it says so
    }

    /// <summary>Connections that it has, but for the one that asks.</summary>
    public int Connections => Status(2) - 1;

    /// <summary>Requests that it has served, but for those that asked.</summary>
    public int Served => Status(9) - _asked;

    /// <summary>One request; gives what the server answered: its name, and the client's address.</summary>
    public static (string Server, string Client) Get(Namespace from, string url)
    {
        string[] words = from.Do("curl", "-sS", "-m", "10", url).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        return (words[0], words[1]);
    }

    public void Dispose()
    {
        _tool.Dispose();
        if (Directory.Exists(_directory.FullName))
        {
            _directory.Delete(recursive: true);
        }
    }

    /// <summary>A word of ngx_http_stub_status_module: "Active connections: 1 \nserver accepts handled requests\n 16 16 31".</summary>
    private int Status(int word)
    {
        _asked++;
        string status = _at.Do("curl", "-sS", "-m", "10", $"http://127.0.0.1:{_port}/status");
        return int.Parse(status.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries)[word], CultureInfo.InvariantCulture);
    }
}
