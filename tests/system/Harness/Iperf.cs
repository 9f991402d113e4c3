using System.Text.Json;

namespace Dataplane.SystemTests.Harness;

/// <summary>The real <c>iperf3</c>.</summary>
public static class Iperf
{
    /// <summary>Sends from one station to another; gives the bytes that arrived.</summary>
    public static long Send(Station from, Station to, params string[] options) => Received(from, to, options).GetProperty("bytes").GetInt64();

    /// <summary>The same; gives the payload in bits per second that arrived.</summary>
    public static double BitsPerSecond(Station from, Station to, params string[] options) => Received(from, to, options).GetProperty("bits_per_second").GetDouble();

    private static JsonElement Received(Station from, Station to, string[] options)
    {
        using Tool server = Serve(to);
        JsonElement end = JsonDocument.Parse(from.Namespace.Do(["iperf3", "-c", to.Address, "-J", .. options])).RootElement.GetProperty("end");
        server.Wait();
        return end.TryGetProperty("sum_received", out JsonElement received) ? received : end.GetProperty("sum");
    }

    /// <summary>A server for one test.</summary>
    public static Tool Serve(Station at)
    {
        Tool server = at.Namespace.Start("iperf3", "-s", "-1", "--forceflush");
        try
        {
            server.WaitFor("Server listening");
            return server;
        }
        catch
        {
            server.Dispose();
            throw;
        }
    }
}
