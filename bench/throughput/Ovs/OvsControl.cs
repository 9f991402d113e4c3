using System.Net.Sockets;
using System.Text.Json;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>
/// The socket that <c>ovs-appctl</c> talks to: JSON-RPC, one object after the other. Without a process between, an answer comes within
/// a fraction of a millisecond, which is what a rate can be measured with.
/// </summary>
public static class OvsControl
{
    /// <summary>Calls a command. Gives what <c>ovs-appctl</c> would print.</summary>
    /// <exception cref="BenchException">It refused, or does not answer.</exception>
    public static string Call(string socketPath, params ReadOnlySpan<string> arguments)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 30_000 };
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(socketPath));
            socket.Send(JsonSerializer.SerializeToUtf8Bytes(new { id = 0, method = arguments[0], @params = arguments[1..].ToArray() }));
            var answer = new MemoryStream();
            byte[] buffer = new byte[65536];
            while (true)
            {
                int n = socket.Receive(buffer);
                answer.Write(buffer, 0, n);
                // The end of an answer is not marked: it is an object when it is whole.
                if (n == 0 || TryParse(answer.ToArray()) is not { } reply)
                {
                    if (n == 0)
                    {
                        throw new BenchException($"Open vSwitch ended while it was asked for {arguments[0]}");
                    }
                    continue;
                }
                using (reply)
                {
                    if (reply.RootElement.GetProperty("error") is { ValueKind: JsonValueKind.String } error)
                    {
                        throw new BenchException($"Open vSwitch refused {arguments[0]}: {error.GetString()?.Trim()}");
                    }
                    return reply.RootElement.GetProperty("result").GetString() ?? "";
                }
            }
        }
        catch (SocketException e)
        {
            throw new BenchException($"Open vSwitch does not answer {arguments[0]}: {e.Message}");
        }
    }

    private static JsonDocument? TryParse(byte[] bytes)
    {
        try
        {
            return JsonDocument.Parse(bytes);
        }
        catch (JsonException)
        {
            return null; // more comes
        }
    }
}
