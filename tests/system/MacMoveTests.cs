using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Containers move: one frame from the new place is enough for everybody's next one to go there.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class MacMoveTests(SharedSwitch shared)
{
    private const string Mover = "02:00:00:00:05:01", Peer = "02:00:00:00:05:02";

    private readonly Switch _switch = shared.Switch;

    [Fact]
    public void TheNextFrameGoesToTheNewPlace()
    {
        var lan = new Lan(_switch, "move", 31);
        lan.AddContainers("", "old", "new", "peer");
        using Recording atOld = lan["old"].Record(), atNew = lan["new"].Record();
        using RawSocket old = lan["old"].OpenRaw(), @new = lan["new"].OpenRaw(), peer = lan["peer"].OpenRaw();

        // Between two ports no order is promised: each frame has been seen before the next one is sent.
        old.Send(Frame.Of(Peer, Mover, 1));
        KnownOn("old");
        peer.Send(Frame.Of(Mover, Peer, 2));
        atOld.WaitFor(Frame.Of(Mover, Peer, 2));

        @new.Send(Frame.Of(Peer, Mover, 3));
        KnownOn("new");
        peer.Send(Frame.Of(Mover, Peer, 4));
        atNew.WaitFor(Frame.Of(Mover, Peer, 4));

        old.Send(Frame.Of(Peer, Mover, 5));
        KnownOn("old");
        peer.Send(Frame.Of(Mover, Peer, 6));
        atOld.WaitFor(Frame.Of(Mover, Peer, 6));

        // All that was sent to the mover, and where it came out. Nothing was flooded: no place got the other's frame.
        peer.Send(Frame.Of(Frame.Broadcast, Peer, 7));
        atOld.WaitFor(Frame.Of(Frame.Broadcast, Peer, 7));
        atNew.WaitFor(Frame.Of(Frame.Broadcast, Peer, 7));
        Assert.Equal([2, 6], SentTo(Mover, atOld));
        Assert.Equal([4], SentTo(Mover, atNew));
        Assert.Equal(1ul, lan.Api.Counters(lan["new"].Port).MacMoves);
        Assert.Equal(1ul, lan.Api.Counters(lan["old"].Port).MacMoves);
        Accounts.Balance(_switch);

        void KnownOn(string place) => Until.Equal(lan[place].Port, () => lan.Api.PortOf(lan.Name, Mover), $"the address is on port {place}");
    }

    /// <summary>As an orchestrator does it: the same MAC and IP address come up elsewhere and announce themselves with one packet.</summary>
    [Fact]
    public void PingFollowsAfterOneGratuitousArp()
    {
        var lan = new Lan(_switch, "migrate", 32);
        lan.AddHost();
        lan.AddContainers("", "old", "new");
        Station host = lan["host"], old = lan["old"], @new = lan["new"];
        Ping.Reaches(host, old.Address);

        // The old place is silent, yet its device is there: only learning can tell that the container is not.
        old.Namespace.Do("ip", "address", "flush", "dev", "eth0");
        old.Namespace.Do("ip", "link", "set", "eth0", "address", "02:00:00:00:05:99");
        @new.Namespace.Do("ip", "address", "flush", "dev", "eth0");
        @new.Namespace.Do("ip", "link", "set", "eth0", "address", old.Mac);
        @new.Namespace.Do("ip", "address", "add", $"{old.Address}/16", "dev", "eth0");
        @new.Namespace.Run("arping", "-U", "-c", "1", "-w", "1", "-I", "eth0", old.Address);

        Finished ping = host.Namespace.Run("ping", "-n", "-c", "1", "-W", "5", old.Address);
        Assert.True(ping.ExitCode == 0, ping.ToString());
        Assert.Equal(@new.Port, lan.Api.PortOf(lan.Name, old.Mac));
    }

    /// <summary>An address that jumps to and fro is a loop or a duplicate: it is counted, and told once.</summary>
    [Fact]
    public void FlappingIsCountedAndReported()
    {
        var lan = new Lan(_switch, "flap", 33);
        lan.AddContainers("", "a", "b");
        using RawSocket a = lan["a"].OpenRaw(), b = lan["b"].OpenRaw();
        Until.True(
            () =>
            {
                a.Send(Frame.Of(Frame.Broadcast, Mover));
                b.Send(Frame.Of(Frame.Broadcast, Mover));
                return lan.Api.Counters(lan["a"].Port).MacFlaps + lan.Api.Counters(lan["b"].Port).MacFlaps > 0;
            },
            "the flap is counted");

        Until.True(() => lan.Api.Events().Any(e => e.Type == Event.Types.Type.MacFlap && e.Network == lan.Name && e.Mac == Mover), "the flap is reported");
        Event flap = lan.Api.Events().First(e => e.Type == Event.Types.Type.MacFlap && e.Network == lan.Name);
        string[] ports = [flap.Port, flap.OtherPort];
        Assert.Equal([lan["a"].Port, lan["b"].Port], ports.Order());
        _switch.Shows(Mover, "events");
    }

    private static uint[] SentTo(string mac, Recording capture) =>
        [.. capture.Frames.Where(f => Frame.IsOurs(f, out _) && f.AsSpan(0, 6).SequenceEqual(Frame.Of(mac, Peer).AsSpan(0, 6))).Select(Number)];

    private static uint Number(byte[] frame) => Frame.IsOurs(frame, out uint number) ? number : 0;
}
