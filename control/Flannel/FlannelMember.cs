using System.Net;
using Dataplane.Control.State;
using Dataplane.Control.State.Etcd;
using Etcdserverpb;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Flannel;

/// <summary>How a node stands with its lease.</summary>
internal enum LeaseState
{
    /// <summary>None was taken, or confirmed, since the start.</summary>
    Seeking,
    /// <summary>The subnets are this node's.</summary>
    Held,
    /// <summary>They were, and are not any more: it ended while etcd was away, or somebody deleted it.</summary>
    Lost,
}

/// <summary>What is known of the network at one moment. Immutable.</summary>
internal sealed record FlannelView
{
    public static FlannelView Nothing { get; } = new() { Reason = "etcd was not reached yet" };

    public LeaseState State { get; init; }

    /// <summary>Why there is no lease, or what else is amiss; for people, and empty when all is well.</summary>
    public string Reason { get; init; } = "";

    /// <summary>Whether etcd is followed now.</summary>
    public bool Connected { get; init; }

    public FlannelConfig? Config { get; init; }

    /// <summary>What the lease says of this node.</summary>
    public LeaseAttributes? Node { get; init; }

    /// <summary>The lease; when it is lost, the one that was.</summary>
    public HeldLease? Lease { get; init; }

    /// <summary>All leases, the oldest first.</summary>
    public IReadOnlyList<SubnetLease> Leases { get; init; } = [];

    /// <summary>Keys among the leases that are none.</summary>
    public IReadOnlyList<string> Strangers { get; init; } = [];
}

/// <summary>
/// One node's membership in a flannel network: takes a lease, renews it, watches all leases, and takes a lease again when
/// that is lost. While etcd is away everything stays as it was, until the lease has run out.
/// <para>
/// As with flanneld the configuration is read when a lease is taken, not watched: a network is not changed under its nodes.
/// </para>
/// </summary>
internal sealed partial class FlannelMember(EtcdOptions etcd, FlannelOptions options, TimeProvider clock, Random random, ILogger log)
{
    private readonly SubnetManager _manager = new(clock, random, options.Term);
    private readonly LeaseView _leases = new();
    private FlannelView _view = FlannelView.Nothing;
    private bool _renewNow;

    /// <summary>Keeps connected and in step until cancelled.</summary>
    /// <param name="publish">Told the view whenever it may have changed, and at every interval at least.</param>
    /// <param name="underlay">The port to the underlay, or null while there is none.</param>
    /// <param name="cancel">The end.</param>
    public async Task RunAsync(Func<FlannelView, Task> publish, Func<Underlay?> underlay, CancellationToken cancel)
    {
        for (int attempt = 0; !cancel.IsCancellationRequested; attempt++)
        {
            string server = etcd.Servers[attempt % etcd.Servers.Count];
            EtcdConnection? connection = null;
            try
            {
                connection = new EtcdConnection(etcd, server);
                await connection.AuthenticateAsync(cancel);
                await FollowAsync(connection, publish, underlay, cancel);
            }
            catch (Exception e) when (cancel.IsCancellationRequested && e is RpcException or OperationCanceledException)
            {
                break;
            }
            catch (Exception e) when (e is RpcException or StateStoreException or IOException or HttpRequestException)
            {
                Away($"etcd at {server} does not answer: {(e is RpcException r ? connection!.Said(r) : e.Message)}");
            }
            finally
            {
                connection?.Dispose();
            }
            await publish(_view);
            await Task.Delay(options.Interval, cancel).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }

    private async Task FollowAsync(EtcdConnection connection, Func<FlannelView, Task> publish, Func<Underlay?> underlay, CancellationToken cancel)
    {
        var registry = new LeaseRegistry(connection, options.Prefix);
        if (_view.State == LeaseState.Held)
        {
            // The clock may have stood still with the machine, or the server may be another one with another memory.
            await RenewAsync(registry, cancel);
        }
        Replace(await registry.ListAsync(cancel));
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch = connection.Watcher.Watch(connection.Long(cancel));
        await watch.RequestStream.WriteAsync(
            new WatchRequest { CreateRequest = new WatchCreateRequest { Key = registry.Start, RangeEnd = registry.End, StartRevision = _leases.Revision + 1 } }, cancel);
        Task<bool> next = watch.ResponseStream.MoveNext(cancel);
        while (true)
        {
            if (_view.State == LeaseState.Held && (_renewNow || _view.Lease!.IsDue(clock)))
            {
                await RenewAsync(registry, cancel);
            }
            await publish(_view);
            if (_view.State != LeaseState.Held)
            {
                await TryAcquireAsync(registry, underlay(), cancel);
                await publish(_view);
            }
            if (await Task.WhenAny(next, Task.Delay(options.Interval, cancel)) == next)
            {
                if (!await next)
                {
                    throw new RpcException(new Status(StatusCode.Unavailable, "it ended the watch"));
                }
                WatchResponse told = watch.ResponseStream.Current;
                if (told.Canceled)
                {
                    // Whatever was missed, the next connection begins with a listing.
                    throw new RpcException(new Status(StatusCode.Unavailable, told.CompactRevision > 0 ? "changes were compacted, everything is listed again" : told.CancelReason));
                }
                Apply(registry, told.Events);
                next = watch.ResponseStream.MoveNext(cancel);
            }
            cancel.ThrowIfCancellationRequested();
        }
    }

    private async Task TryAcquireAsync(LeaseRegistry registry, Underlay? underlay, CancellationToken cancel)
    {
        try
        {
            string json = await registry.ReadConfigAsync(cancel) ?? throw new NoLeaseException($"there is no key {registry.ConfigKey}: write the network's configuration into it");
            FlannelConfig config = FlannelConfigReader.Read(json);
            if (underlay is null)
            {
                throw new NoLeaseException($"there is no routed port \"{options.Underlay}\" to be the underlay");
            }
            LeaseAttributes node = FlannelPlanner.Describe(config, options.Prefix, PublicIP(config.IPv4, options.PublicIP, underlay, ipv6: false), PublicIP(config.IPv6, options.PublicIPv6, underlay, ipv6: true));
            LeaseSubnets? previous = _view.Lease?.Subnets ?? SubnetFile.ReadSubnets(options.SubnetFile);
            HeldLease lease = await _manager.AcquireAsync(registry, config, node, previous, cancel);
            _view = _view with { State = LeaseState.Held, Reason = "", Config = config, Node = node, Lease = lease };
            LogTaken(lease.Subnets.ToString(), lease.IsReservation ? "reserved" : $"{lease.Term.TotalHours:0.##} h");
        }
        catch (FlannelConfigException e)
        {
            Refused($"{registry.ConfigKey}: {e.Message}");
        }
        catch (NoLeaseException e)
        {
            Refused(e.Message);
        }
    }

    private static IPAddress? PublicIP(SubnetPool? pool, IPAddress? given, Underlay underlay, bool ipv6) => pool is null ? null
        : given ?? underlay.First(ipv6) ?? throw new NoLeaseException(
            $"port \"{underlay.Name}\" has no {(ipv6 ? "IPv6" : "IPv4")} address for the other nodes to reach: give it one, or name one by --public-ip{(ipv6 ? "v6" : "")}");

    private async Task RenewAsync(LeaseRegistry registry, CancellationToken cancel)
    {
        _renewNow = false;
        if (await _manager.RenewAsync(registry, _view.Lease!, cancel) is { } renewed)
        {
            _view = _view with { Lease = renewed };
        }
        else
        {
            Lose("it has ended");
        }
    }

    /// <summary>Begins anew with a whole listing. A lease that is not in it is lost.</summary>
    private void Replace(LeaseListing listing)
    {
        _leases.Replace(listing);
        if (_view.State == LeaseState.Held)
        {
            Judge(_leases.Find(_view.Lease!.Subnets.Key));
        }
        Publish();
    }

    private void Apply(LeaseRegistry registry, IEnumerable<Mvccpb.Event> events)
    {
        foreach (Mvccpb.Event told in events)
        {
            string name = registry.NameOf(told.Kv.Key);
            _leases.Apply(name, told);
            // What was before we took it is history.
            if (_view.State == LeaseState.Held && name == _view.Lease!.Subnets.Key && told.Kv.ModRevision > _view.Lease.Revision)
            {
                Judge(_leases.Find(name));
            }
        }
        Publish();
    }

    /// <summary>Looks whether the key of our lease is still ours.</summary>
    private void Judge(SubnetLease? now)
    {
        if (now is null)
        {
            Lose("its key was deleted");
        }
        else if (!now.IsOf(_view.Node!))
        {
            Lose($"it is another node's now: {now.Attributes?.ToJson() ?? now.Flaw}");
        }
        else if (now.EtcdLease != _view.Lease!.EtcdLease)
        {
            // The operator made it a reservation, or gave it another end, which the next renewal tells.
            _view = _view with { Lease = _view.Lease with { EtcdLease = now.EtcdLease, Revision = now.Modified } };
            _renewNow = true;
        }
    }

    private void Publish() => _view = _view with { Connected = true, Leases = _leases.Leases, Strangers = [.. _leases.Strangers], Reason = _view.State == LeaseState.Held ? "" : _view.Reason };

    private void Lose(string reason)
    {
        _view = _view with { State = LeaseState.Lost, Reason = $"the lease of {_view.Lease!.Subnets} is lost: {reason}" };
        LogLost(_view.Reason);
    }

    private void Refused(string reason)
    {
        string whole = _view.State == LeaseState.Lost ? $"the lease of {_view.Lease!.Subnets} is lost, and none can be taken: {reason}" : $"no lease can be taken: {reason}";
        if (_view.Reason != whole)
        {
            LogRefused(whole);
        }
        _view = _view with { Reason = whole };
    }

    private void Away(string reason)
    {
        if (_view.Connected || _view == FlannelView.Nothing)
        {
            LogAway(reason);
        }
        _view = _view with { Connected = false, Reason = _view.State == LeaseState.Lost ? _view.Reason : reason };
        if (_view.State == LeaseState.Held && _view.Lease!.IsOver(clock))
        {
            Lose($"it has ended while etcd was away ({reason})");
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "flannel: leased {Subnets} ({Term})")]
    private partial void LogTaken(string subnets, string term);

    [LoggerMessage(Level = LogLevel.Error, Message = "flannel: {Reason}; forwarding goes on, new containers are refused")]
    private partial void LogLost(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "flannel: {Reason}")]
    private partial void LogRefused(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "flannel: {Reason}; forwarding goes on")]
    private partial void LogAway(string reason);
}
