using System.Net;
using System.Text.Json;
using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>
/// An object as Go's encoding/json reads it into a struct, for flannel's operators rely on that: names match whatever their
/// case, the last of several wins, null and absent are the same, unknown names are nobody's business. What has a wrong type
/// is noted as a problem, and then counts as absent.
/// </summary>
internal sealed class GoJson
{
    private readonly Dictionary<string, JsonElement> _members = new(StringComparer.OrdinalIgnoreCase);
    private readonly string _within;
    private readonly List<string> _problems;

    private GoJson(JsonElement value, string within, List<string> problems)
    {
        _within = within;
        _problems = problems;
        if (value.ValueKind != JsonValueKind.Object)
        {
            problems.Add($"{(within.Length == 0 ? "it" : within)} is {value.GetRawText()}, not an object");
            return;
        }
        foreach (JsonProperty member in value.EnumerateObject().Where(m => m.Value.ValueKind != JsonValueKind.Null))
        {
            _members[member.Name] = member.Value;
        }
    }

    /// <summary>Reads a whole text.</summary>
    /// <param name="text">JSON.</param>
    /// <param name="problems">What is wrong is added here.</param>
    public static GoJson Parse(string text, List<string> problems)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text);
            return new GoJson(document.RootElement.Clone(), "", problems);
        }
        catch (JsonException e)
        {
            problems.Add($"it is no JSON: {e.Message}");
            return Object("{}", problems);
        }
    }

    public bool Has(string name) => _members.ContainsKey(name);

    public GoJson? Object(string name) => _members.TryGetValue(name, out JsonElement value) ? new GoJson(value, Name(name), _problems) : null;

    public string? Text(string name) => Read<string?>(name, "a text", (JsonElement v, out string? text) =>
    {
        text = v.ValueKind == JsonValueKind.String ? v.GetString() : null;
        return text is not null;
    });

    public bool? Flag(string name) => Read<bool?>(name, "true or false", (JsonElement v, out bool? flag) =>
    {
        flag = v.ValueKind switch { JsonValueKind.True => true, JsonValueKind.False => false, _ => null };
        return flag is not null;
    });

    /// <summary>A whole number from <paramref name="least"/> to <paramref name="most"/>.</summary>
    public long? Number(string name, long least, long most) => Read<long?>(name, $"a whole number from {least} to {most}", (JsonElement v, out long? number) =>
    {
        number = v.ValueKind == JsonValueKind.Number && v.TryGetInt64(out long n) && n >= least && n <= most ? n : null;
        return number is not null;
    });

    /// <summary>A prefix; bits behind it are dropped, as Go does.</summary>
    public Cidr? Prefix(string name, bool ipv6) => Read<Cidr?>(name, ipv6 ? "an IPv6 prefix (fd00:10::/48)" : "an IPv4 prefix (10.5.0.0/16)", (JsonElement v, out Cidr? prefix) =>
    {
        prefix = v.ValueKind == JsonValueKind.String && Cidr.TryParse(v.GetString(), out Cidr c) && c.IsIPv6 == ipv6 ? c.Prefix : null;
        return prefix is not null;
    });

    public IPAddress? Address(string name, bool ipv6) => Read<IPAddress?>(name, ipv6 ? "an IPv6 address" : "an IPv4 address", (JsonElement v, out IPAddress? address) =>
    {
        address = v.ValueKind == JsonValueKind.String && Cidr.TryParseAddress(v.GetString(), out IPAddress? a) && new Cidr(a, 0).IsIPv6 == ipv6 ? a : null;
        return address is not null;
    });

    private delegate bool Reader<T>(JsonElement value, out T result);

    private T? Read<T>(string name, string kind, Reader<T> reader)
    {
        if (!_members.TryGetValue(name, out JsonElement value))
        {
            return default;
        }
        if (!reader(value, out T result))
        {
            _problems.Add($"{Name(name)} is {value.GetRawText()}, not {kind}");
        }
        return result;
    }

    private string Name(string member) => _within.Length == 0 ? member : $"{_within}.{member}";

    private static GoJson Object(string text, List<string> problems)
    {
        using JsonDocument empty = JsonDocument.Parse(text);
        return new GoJson(empty.RootElement.Clone(), "", problems);
    }
}
