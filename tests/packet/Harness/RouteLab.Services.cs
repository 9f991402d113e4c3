using System.Net;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.PacketTests.Harness;

/// <summary>Services and pools of addresses, as the control plane makes them.</summary>
public sealed partial class RouteLab
{
    private readonly Dictionary<string, int> _frontends = [], _backends = [];
    private int _lastPool;

    /// <summary>VRFs look every packet up among the connections.</summary>
    public RouteLab Tracks(VrfFlags flags = VrfFlags.Tracks)
    {
        Writer.Begin();
        Writer.SetVrfFlags(1, flags);
        Writer.Commit();
        return this;
    }

    /// <summary>A service at an address and port, like "10.96.0.1:80", with backends. What it was before it is no more.</summary>
    public RouteLab Service(byte protocol, string at, params string[] backends) => Service(protocol, at, record => record, backends);

    /// <inheritdoc cref="Service(byte, string, string[])"/>
    public RouteLab Service(byte protocol, string at, Func<FrontendRecord, FrontendRecord> change, params string[] backends) =>
        Service(protocol, at, change, maglev: false, [.. backends.Select(b => (b, 1))]);

    /// <inheritdoc cref="Service(byte, string, string[])"/>
    public RouteLab Service(byte protocol, string at, Func<FrontendRecord, FrontendRecord> change, bool maglev, params (string At, int Weight)[] backends)
    {
        IPEndPoint vip = IPEndPoint.Parse(at);
        (IPv6Number address, _, bool v6) = Parse(vip.Address.ToString());
        int index = Index(_frontends, $"{protocol} {at}");
        var record = new FrontendRecord
        {
            Key = FrontendKey.Of(1, protocol, v6, address, (ushort)vip.Port), Flags = FrontendFlags.Exists, Service = (uint)index,
        };
        Writer.Begin();
        var members = new List<BackendMember>();
        foreach ((string text, int weight) in backends)
        {
            IPEndPoint end = IPEndPoint.Parse(text);
            (IPv6Number number, _, bool six) = Parse(end.Address.ToString());
            int backend = Index(_backends, $"{protocol} {at} {text}");
            Writer.SetBackend(backend, new BackendRecord
            {
                Address = number, Port = (ushort)end.Port, Protocol = protocol, Service = record.Service, Flags = BackendFlags.Exists | (six ? BackendFlags.IPv6 : 0),
            });
            members.Add(new BackendMember((uint)backend, (ushort)weight, number.Low ^ ((ulong)end.Port << 40)));
        }
        if (members.Count != 0)
        {
            record.Set = Writer.AddBackendSet([.. members], maglev);
        }
        Writer.SetFrontend(index, change(record));
        Writer.Commit();
        return this;
    }

    /// <summary>A backend that a service has no more is none; its connections may go on.</summary>
    public RouteLab RemoveBackend(byte protocol, string at, string backend)
    {
        int index = _backends[$"{protocol} {at} {backend}"];
        Writer.Begin();
        Writer.SetBackend(index, Writer.Backend(index) with { Flags = BackendFlags.None });
        Writer.Commit();
        return this;
    }

    /// <summary>An address that belongs to services and to no interface.</summary>
    public RouteLab ServiceAddress(string at, bool answersPing = false)
    {
        (IPv6Number address, _, bool v6) = Parse(at);
        Writer.Begin();
        Writer.SetFrontend(Index(_frontends, at), new FrontendRecord
        {
            Key = FrontendKey.OfAddress(1, v6, address),
            Flags = FrontendFlags.Exists | FrontendFlags.Address | (answersPing ? FrontendFlags.AnswersPing : 0),
        });
        Writer.Commit();
        return this;
    }

    /// <summary>Packets from an interface get the addresses of a pool on another one.</summary>
    public RouteLab Masquerade(int inside, int outside, string[] pool, ushort first = 1024, ushort last = ushort.MaxValue, NatPoolFlags flags = NatPoolFlags.None)
    {
        var record = new NatPoolRecord { Flags = NatPoolFlags.Exists | flags, FirstPort = first, LastPort = last };
        foreach (string text in pool)
        {
            (IPv6Number address, _, bool v6) = Parse(text);
            if (v6)
            {
                record.Addresses6[record.Count6++] = address;
            }
            else
            {
                record.Addresses4[record.Count4++] = (uint)address.Low;
            }
        }
        Writer.Begin();
        Writer.SetNatPool(++_lastPool, record);
        Writer.Commit();
        Change(inside, itf => itf with { Flags = itf.Flags | InterfaceFlags.Masqueraded });
        return Change(outside, itf => itf with { NatPool = (ushort)_lastPool });
    }

    /// <summary>An address and port as they are written.</summary>
    public static string At(string address, int port) => new IPEndPoint(IPAddress.Parse(address), port).ToString();

    private static int Index(Dictionary<string, int> indexes, string name) =>
        indexes.TryGetValue(name, out int index) ? index : indexes[name] = indexes.Count + 1;
}
