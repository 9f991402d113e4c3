using System.Globalization;
using Dataplane.Control.State;
using Dataplane.Control.State.Etcd;
using Grpc.Core;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>
/// As <see cref="StoreWriter"/>, with states in etcd: a process of its own that is several nodes, each with a prefix for itself. While
/// etcd is away it tries again.
/// </summary>
internal static class EtcdWriter
{
    /// <summary>First argument of this program that makes it such a process; the server and the nodes' own files follow.</summary>
    public const string Command = "etcd-writer";

    /// <summary>Of a node by its number.</summary>
    public static string Prefix(int node) => string.Create(CultureInfo.InvariantCulture, $"/kill{node}");

    public static int Run(string server, IReadOnlyList<string> files)
    {
        var output = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true };
        Task[] writers = [.. files.Select((file, node) => Task.Factory.StartNew(() => Write(server, file, node, output).Wait(), TaskCreationOptions.LongRunning))];
        Task.WaitAny(writers);
        return 1;
    }

    private static async Task Write(string server, string file, int number, StreamWriter output)
    {
        await using EtcdNode node = await EtcdNode.InStep(
            new EtcdOptions { Servers = [server], Prefix = Prefix(number), Node = "n", Patience = TimeSpan.FromMinutes(1) }, file);
        while (true)
        {
            uint batch = (node.State.Ports.GetValueOrDefault("port-0")?.Spec.LearnLimit ?? 0) + 1;
            try
            {
                await node.Bench.Controller.CommitAsync(StoreWriter.Batch(batch), dryRun: false, CancellationToken.None);
            }
            catch (ProblemException e) when (e.Code is StatusCode.Unavailable or StatusCode.Aborted)
            {
                // Away, or it took the batch before and the node is about to follow.
                await Task.Delay(5);
                continue;
            }
            lock (output)
            {
                output.Write(string.Create(CultureInfo.InvariantCulture, $"{number} {batch}\n"));
            }
        }
    }
}
