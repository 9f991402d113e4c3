using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Dataplane.UnitTests.Interop.Linux;
using Etcdserverpb;
using Google.Protobuf;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>
/// Nodes that write to etcd as fast as they can are killed (SIGKILL) at random instants, and so is etcd, again and again on the same
/// data: no batch that a node acknowledged is missing, and none is there in part.
/// </summary>
public sealed class EtcdKillTests : IDisposable
{
    /// <summary>Each kill meets every node at another instant of its own: 20 times 10 are 200.</summary>
    private const int Kills = 20, Nodes = 10;

    private readonly TempDirectory _directory = new();
    private readonly EtcdServer _etcd = new();

    public void Dispose()
    {
        _etcd.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task WhoeverIsKilledNothingAcknowledgedIsLost()
    {
        string[] files = [.. Enumerable.Range(0, Nodes).Select(i => _directory.File($"{i}.db"))];
        var random = new Random(3);
        var acknowledged = new uint[Nodes];
        for (int kill = 0; kill < Kills; kill++)
        {
            using Process writer = StoreKillTests.Start([EtcdWriter.Command, _etcd.Address, .. files]);
            int said = 0;
            Task<List<string>> output = Task.Run(() => StoreKillTests.Lines(writer.StandardOutput, ref said));
            Task<string> error = Task.Run(writer.StandardError.ReadToEnd);
            bool both = kill % 3 == 1, etcdAlone = kill % 3 == 2;
            await Said(random.Next(1, 20 * Nodes));
            await Task.Delay(TimeSpan.FromMilliseconds(random.NextDouble() * 20));
            if (both || etcdAlone)
            {
                _etcd.Stop();
            }
            if (etcdAlone)
            {
                // The nodes find it again, and go on.
                _etcd.Start();
                await Said(Volatile.Read(ref said) + random.Next(1, 5 * Nodes));
            }
            writer.Kill();
            await writer.WaitForExitAsync();
            Assert.Equal("", await error);
            if (both)
            {
                _etcd.Start();
            }
            StoreKillTests.Note(await output, (node, batch) => acknowledged[node] = (uint)batch);
            // One may have been taken and not acknowledged when the node was killed, and one before that when etcd was: the node goes on behind it.
            uint unsure = etcdAlone ? 2u : 1u;
            for (int node = 0; node < Nodes; node++)
            {
                uint found = BatchOf(node);
                Assert.InRange(found, acknowledged[node], acknowledged[node] + unsure);
                acknowledged[node] = found;
            }

            async Task Said(int lines)
            {
                for (int i = 0; i < 6000 && Volatile.Read(ref said) < lines && !writer.HasExited; i++)
                {
                    await Task.Delay(5);
                }
            }
        }
        Assert.True(acknowledged.Sum(a => a) > Kills * Nodes, $"only {string.Join(", ", acknowledged)} batches were taken");
    }

    /// <summary>The batch that etcd has of a node, all of it and of no other.</summary>
    private uint BatchOf(int node)
    {
        string ports = EtcdWriter.Prefix(node) + "/nodes/n/ports/";
        RangeResponse all = _etcd.Kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8(ports), RangeEnd = ByteString.CopyFromUtf8(ports[..^1] + '0') });
        if (all.Kvs.Count == 0)
        {
            return 0;
        }
        Dictionary<string, uint> batches = all.Kvs.ToDictionary(
            k => k.Key.ToStringUtf8()[ports.Length..], k => JsonDocument.Parse(k.Value.ToStringUtf8()).RootElement.GetProperty("learn_limit").GetUInt32());
        uint batch = Assert.Single(batches.Values.Distinct());
        Assert.Equal(
            Enumerable.Range(0, StoreWriter.Ports).Select(i => $"port-{i}").Append(string.Create(CultureInfo.InvariantCulture, $"only-{batch}")).Order(StringComparer.Ordinal),
            batches.Keys.Order(StringComparer.Ordinal));
        return batch;
    }
}
