using System.Text;
using Dataplane.Control.Api.V1;
using Google.Protobuf;
using Mvccpb;
using Event = Mvccpb.Event;

namespace Dataplane.Control.State.Etcd;

/// <summary>
/// What etcd holds under the prefix, as far as the watch has told. It remembers which resources of this node differ from
/// what the switch was given (<see cref="Pending"/>): however they came to differ, giving them to it again is right.
/// </summary>
internal sealed class EtcdView(EtcdKeys keys)
{
    private static readonly JsonFormatter Formatter = new(JsonFormatter.Settings.Default.WithPreserveProtoFieldNames(true));
    private static readonly JsonParser Parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));

    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _written = new(StringComparer.Ordinal);
    private readonly HashSet<ResourceKey> _pending = [];
    private readonly Dictionary<string, Node> _alive = new(StringComparer.Ordinal);

    /// <param name="ModRevision">etcd's revision of the last change.</param>
    /// <param name="Resource">What lies there; null when it cannot be read.</param>
    /// <param name="Flaw">Why not.</param>
    private sealed record Entry(long ModRevision, Resource? Resource, string? Flaw);

    /// <summary>etcd's revision up to which everything is known.</summary>
    public long Revision { get; private set; }

    /// <summary>Resources that the switch does not have yet as they are here.</summary>
    public IReadOnlyCollection<ResourceKey> Pending => _pending;

    /// <summary>Whether this node wrote something that the watch has not told yet.</summary>
    public bool AwaitsOwn => _written.Count > 0;

    public long ModRevision(string key) => _entries.TryGetValue(key, out Entry? entry) ? entry.ModRevision : 0;

    public static string ToValue(Resource resource)
    {
        Resource copy = resource.Clone();
        copy.Revision = 0;
        return Formatter.Format(copy.Content);
    }

    /// <summary>Begins anew with a whole listing. What the switch has of the operator's and the listing has not is pending too.</summary>
    public void Replace(IEnumerable<KeyValue> all, long revision, DesiredState state)
    {
        _entries.Clear();
        _written.Clear();
        _alive.Clear();
        foreach (KeyValue pair in all)
        {
            Put(pair.Key.ToStringUtf8(), pair);
        }
        Revision = revision;
        _pending.UnionWith(state.KeysOf(""));
    }

    /// <summary>Takes up what the watch tells.</summary>
    public void Apply(IEnumerable<Event> events)
    {
        foreach (Event e in events)
        {
            // Not the revision in the answer's header: with a backlog that is ahead of the events.
            Revision = Math.Max(Revision, e.Kv.ModRevision);
            string key = e.Kv.Key.ToStringUtf8();
            if (e.Type == Event.Types.EventType.Delete && keys.AliveNode(key) is { } gone)
            {
                _alive.Remove(gone);
                continue;
            }
            if (_written.TryGetValue(key, out long written))
            {
                if (e.Kv.ModRevision < written)
                {
                    continue;
                }
                _written.Remove(key);
                if (e.Kv.ModRevision == written)
                {
                    continue; // our own
                }
            }
            if (e.Type == Event.Types.EventType.Put)
            {
                Put(key, e.Kv);
            }
            else
            {
                _entries.Remove(key);
                MarkPending(key);
            }
        }
    }

    /// <summary>This node has written a key itself: the switch has it already.</summary>
    public void Written(string key, Resource? resource, long revision)
    {
        if (resource is null)
        {
            _entries.Remove(key);
        }
        else
        {
            _entries[key] = new Entry(revision, resource, null);
        }
        _written[key] = revision;
        if (keys.Parse(key) is var (_, kind, name))
        {
            _pending.Remove(new ResourceKey { Kind = kind, Name = name });
        }
    }

    /// <summary>The resource that holds on this node, or null.</summary>
    /// <exception cref="InvalidDataException">What lies there cannot be read.</exception>
    public Resource? Find(ResourceKey key)
    {
        foreach (string place in keys.All(key))
        {
            if (_entries.TryGetValue(place, out Entry? entry))
            {
                return entry.Resource ?? throw new InvalidDataException($"the key {place} cannot be read: {entry.Flaw}");
            }
        }
        return null;
    }

    /// <summary>What was pending was given to the switch.</summary>
    public void Given(IEnumerable<ResourceKey> keys) => _pending.ExceptWith(keys);

    /// <summary>What other nodes have that relies upon a network or policy: "node b: port web".</summary>
    public IEnumerable<string> OfOthers(Kind kind, string name) =>
        from pair in _entries
        let place = keys.Parse(pair.Key)
        where place is not null && !keys.IsOwnOrShared(place.Value.Node)
        where pair.Value.Resource is { } r && (kind == Kind.Policy ? r.NamedPolicy == name : r.NamedNetworks.Contains(name))
        orderby pair.Key
        select $"node {place.Value.Node}: {place.Value.Kind.Text} {place.Value.Name}";

    /// <summary>All nodes that are connected, or have something in the store.</summary>
    public IReadOnlyList<Node> Nodes()
    {
        var nodes = _alive.ToDictionary(n => n.Key, n => n.Value.Clone(), StringComparer.Ordinal);
        foreach ((string owner, Kind kind, _) in _entries.Keys.Select(keys.Parse).OfType<(string Node, Kind Kind, string Name)>().Where(p => p.Node.Length > 0))
        {
            if (!nodes.TryGetValue(owner, out Node? node))
            {
                nodes.Add(owner, node = new Node { Name = owner });
            }
            node.Ports += kind == Kind.Port ? 1u : 0;
        }
        return [.. nodes.Values];
    }

    /// <summary>What a node says of itself.</summary>
    public static string ToValue(Node node) => Formatter.Format(node);

    private static Node ReadNode(string name, string json)
    {
        try
        {
            Node said = Parser.Parse<Node>(json);
            return new Node { Name = name, Online = true, Version = said.Version, Started = said.Started };
        }
        catch (InvalidProtocolBufferException)
        {
            return new Node { Name = name, Online = true };
        }
    }

    private void Put(string key, KeyValue pair)
    {
        if (keys.AliveNode(key) is { } node)
        {
            _alive[node] = ReadNode(node, pair.Value.ToStringUtf8());
            return;
        }
        if (keys.Parse(key) is not var (_, kind, name))
        {
            return;
        }
        try
        {
            _entries[key] = new Entry(pair.ModRevision, Read(kind, name, pair.Value.ToStringUtf8()), null);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or InvalidJsonException or DecoderFallbackException)
        {
            _entries[key] = new Entry(pair.ModRevision, null, e.Message);
        }
        MarkPending(key);
    }

    private void MarkPending(string key)
    {
        if (keys.Parse(key) is var (owner, kind, name) && keys.IsOwnOrShared(owner))
        {
            _pending.Add(new ResourceKey { Kind = kind, Name = name });
        }
    }

    /// <summary>The key says the name; the value need not.</summary>
    private static Resource Read(Kind kind, string name, string json)
    {
        var content = (IMessage)Parser.Parse(json, ResourceKeys.DescriptorOf(kind));
        Resource resource = ResourceKeys.Of(content);
        resource.Name = name;
        resource.Revision = 0;
        return resource;
    }
}
