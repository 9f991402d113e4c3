using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;
using Grpc.Core;

namespace Dataplane.SystemTests;

/// <summary>Either process is killed, or the disk of the desired state is full, one after the other on the same switch.</summary>
public sealed class ChaosTests : Chaos
{
    private const int PoliciesAtOnce = 100;

    private readonly string _disk;

    public ChaosTests()
        : this(SmallDisk())
    {
    }

    private ChaosTests(string disk)
        : base(Switch.Started("--state-dir", disk), 181, seed: 20) => _disk = disk;

    [Fact]
    public void WhateverHappensNothingAcknowledgedIsLost() => Suffer(3, KillEngine, KillControl, KillControlAtWork, KillBoth, FillTheDisk);

    public override void Dispose()
    {
        base.Dispose();
        Tool.Run(["umount", _disk]);
        Directory.Delete(_disk, recursive: true);
    }

    private static string SmallDisk()
    {
        string disk = Directory.CreateTempSubdirectory("dataplane-chaos-").FullName;
        Tool.Do("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk);
        return disk;
    }

    private void FillTheDisk()
    {
        string filler = Path.Combine(_disk, "filler");
        Tool.Run(["dd", "if=/dev/zero", $"of={filler}", "bs=4k"]);
        // What the files have already can be written anew. So there has to be more and more; then a batch is refused and says why.
        string? refused = null;
        int batches = 0;
        for (; batches < 2000 && refused is null; batches++)
        {
            refused = TryPolicies(batches);
        }
        Assert.Contains("no space left", refused ?? "a full disk refuses nothing", StringComparison.Ordinal);
        CheckInvariants();
        List<ResourceKey> there = Policies();
        Assert.Equal((batches - 1) * PoliciesAtOnce, there.Count);
        File.Delete(filler);
        Assert.Null(TryPolicies(batches - 1));
        foreach (ResourceKey[] some in Policies().Chunk(10 * PoliciesAtOnce))
        {
            Switch.Api.Resources.Delete(new DeleteRequest { Keys = { some } }, deadline: ApiClient.Deadline);
        }
    }

    private string? TryPolicies(int batch)
    {
        var request = new ApplyRequest { Resources = { Enumerable.Range(0, PoliciesAtOnce).Select(i => new Resource { Policy = new Policy { Name = $"filling-{batch}-{i}", Isolated = true } }) } };
        try
        {
            Switch.Api.Resources.Apply(request, deadline: ApiClient.Deadline);
            return null;
        }
        catch (RpcException e)
        {
            return e.Status.Detail;
        }
    }

    private List<ResourceKey> Policies() => [.. Switch.Api.All(Kind.Policy).Select(r => new ResourceKey { Kind = Kind.Policy, Name = r.Policy.Name })];
}
