using System.Text;
using Mvccpb;

namespace Dataplane.Control.Flannel;

/// <summary>A lease as etcd holds it.</summary>
/// <param name="Subnets">What is leased; the key says it.</param>
/// <param name="Attributes">By whom; null when the value cannot be read.</param>
/// <param name="Flaw">Why not.</param>
/// <param name="EtcdLease">etcd's lease that the key ends with; 0 for a reservation, which never ends.</param>
/// <param name="Created">etcd's revision when the key was made.</param>
/// <param name="Modified">etcd's revision of its last change.</param>
internal sealed record SubnetLease(LeaseSubnets Subnets, LeaseAttributes? Attributes, string? Flaw, long EtcdLease, long Created, long Modified)
{
    public string Key => Subnets.Key;

    public bool IsReservation => EtcdLease == 0;

    /// <summary>Reads a key and its value; null for a key that is no lease.</summary>
    /// <param name="name">The key without what all of them begin with.</param>
    /// <param name="pair">The key with its value.</param>
    public static SubnetLease? Read(string name, KeyValue pair)
    {
        if (!LeaseSubnets.TryParse(name, out LeaseSubnets? subnets))
        {
            return null;
        }
        LeaseAttributes? attributes = null;
        string? flaw = null;
        try
        {
            attributes = LeaseAttributes.Parse(pair.Value.ToStringUtf8());
        }
        catch (Exception e) when (e is FormatException or DecoderFallbackException)
        {
            flaw = e.Message;
        }
        return new SubnetLease(subnets.Value, attributes, flaw, pair.Lease, pair.CreateRevision, pair.ModRevision);
    }

    /// <summary>Whether it is that of the node with these addresses. As with flannel the address on the underlay is who one is.</summary>
    public bool IsOf(LeaseAttributes node) => Attributes is { } a
        && (node.PublicIP is { } ipv4 ? ipv4.Equals(a.PublicIP) : node.PublicIPv6 is { } ipv6 && ipv6.Equals(a.PublicIPv6));
}

/// <summary>A lease that this node has.</summary>
/// <param name="Subnets">The subnets.</param>
/// <param name="EtcdLease">etcd's lease; 0 for a reservation.</param>
/// <param name="Revision">etcd's revision at which it was ours: what was told of older ones is history.</param>
/// <param name="Since">Timestamp of the clock before it was last renewed.</param>
/// <param name="Term">How long it lasts from then on.</param>
internal sealed record HeldLease(LeaseSubnets Subnets, long EtcdLease, long Revision, long Since, TimeSpan Term)
{
    public bool IsReservation => EtcdLease == 0;

    /// <summary>An hour before the end of 24.</summary>
    public bool IsDue(TimeProvider clock) => !IsReservation && clock.GetElapsedTime(Since) >= Term - (Term / 24);

    public bool IsOver(TimeProvider clock) => !IsReservation && clock.GetElapsedTime(Since) >= Term;

    /// <summary>When it ends unless it is renewed; null when it never does.</summary>
    public DateTimeOffset? Ends(TimeProvider clock) => IsReservation ? null : clock.GetUtcNow() + Term - clock.GetElapsedTime(Since);
}
