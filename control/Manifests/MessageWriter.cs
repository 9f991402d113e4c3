using System.Collections;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;

namespace Dataplane.Control.Manifests;

/// <summary>
/// Writes protobuf messages as JSON and YAML with the field names of the .proto file. JSON has every field that has a value
/// of its own, also 0 and false, so that a script finds it; YAML leaves out what is at its default, so that a person can
/// read and edit it. 64-bit numbers are numbers in both, times RFC 3339, durations seconds with an "s".
/// </summary>
public static class MessageWriter
{
    private static readonly JsonWriterOptions Indented = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly JsonWriterOptions Compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>One message as JSON; without line breaks when <paramref name="compact"/>.</summary>
    /// <param name="message">What to write.</param>
    /// <param name="compact">On one line, for streams.</param>
    /// <param name="kind">Written first as "kind", when given.</param>
    public static string ToJson(IMessage message, bool compact = false, string? kind = null)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, compact ? Compact : Indented))
        {
            WriteJson(json, Tree(message, withDefaults: true, kind));
        }
        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    /// <summary>One message as a YAML document.</summary>
    public static string ToYaml(IMessage message, string? kind = null)
    {
        var text = new StringBuilder();
        WriteYaml(text, Tree(message, withDefaults: false, kind), 0);
        return text.ToString();
    }

    /// <summary>The message as nested lists of pairs, lists and plain values.</summary>
    private static List<KeyValuePair<string, object>> Tree(IMessage message, bool withDefaults, string? kind = null)
    {
        var fields = new List<KeyValuePair<string, object>>();
        if (kind is not null)
        {
            fields.Add(new("kind", kind));
        }
        foreach (FieldDescriptor field in message.Descriptor.Fields.InFieldNumberOrder().OrderBy(f => f.Name is "revision" or "status" or "owner"))
        {
            object? value = field.Accessor.GetValue(message);
            if (field.IsRepeated)
            {
                List<object> items = [.. ((IList)value!).Cast<object>().Select(v => Value(field, v, withDefaults))];
                if (items.Count > 0 || withDefaults)
                {
                    fields.Add(new(field.Name, items));
                }
            }
            else if (field.HasPresence ? field.Accessor.HasValue(message) : withDefaults || !IsDefault(value))
            {
                fields.Add(new(field.Name, Value(field, value!, withDefaults)));
            }
        }
        return fields;
    }

    private static object Value(FieldDescriptor field, object value, bool withDefaults) => value switch
    {
        Timestamp time => time.ToDateTimeOffset().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture),
        Duration duration => duration.ToTimeSpan().TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture) + "s",
        IMessage message => Tree(message, withDefaults),
        System.Enum => field.EnumType.FindValueByNumber(Convert.ToInt32(value, CultureInfo.InvariantCulture))?.Name ?? value.ToString()!,
        _ => value,
    };

    private static bool IsDefault(object? value) => value switch
    {
        null or "" or false => true,
        string or true => false,
        System.Enum e => Convert.ToInt32(e, CultureInfo.InvariantCulture) == 0,
        _ => Convert.ToDecimal(value, CultureInfo.InvariantCulture) == 0,
    };

    private static void WriteJson(Utf8JsonWriter json, object value)
    {
        switch (value)
        {
            case List<KeyValuePair<string, object>> fields:
                json.WriteStartObject();
                foreach ((string name, object field) in fields)
                {
                    json.WritePropertyName(name);
                    WriteJson(json, field);
                }
                json.WriteEndObject();
                break;
            case List<object> items:
                json.WriteStartArray();
                items.ForEach(i => WriteJson(json, i));
                json.WriteEndArray();
                break;
            case bool b: json.WriteBooleanValue(b); break;
            case string s: json.WriteStringValue(s); break;
            case ulong u: json.WriteNumberValue(u); break;
            default: json.WriteNumberValue(Convert.ToInt64(value, CultureInfo.InvariantCulture)); break;
        }
    }

    private static void WriteYaml(StringBuilder text, List<KeyValuePair<string, object>> fields, int indent, bool first = false)
    {
        foreach ((string name, object value) in fields)
        {
            text.Append(' ', first ? 0 : indent).Append(name).Append(':');
            first = false;
            switch (value)
            {
                case List<KeyValuePair<string, object>> { Count: 0 }:
                    text.Append(" {}\n");
                    break;
                case List<KeyValuePair<string, object>> nested:
                    text.Append('\n');
                    WriteYaml(text, nested, indent + 2);
                    break;
                case List<object> items when items.All(i => i is not List<KeyValuePair<string, object>>):
                    text.Append(" [").AppendJoin(", ", items.Select(Scalar)).Append("]\n");
                    break;
                case List<object> items:
                    text.Append('\n');
                    foreach (List<KeyValuePair<string, object>> item in items.Cast<List<KeyValuePair<string, object>>>())
                    {
                        text.Append(' ', indent).Append("- ");
                        WriteYaml(text, item, indent + 2, first: true);
                    }
                    break;
                default:
                    text.Append(' ').Append(Scalar(value)).Append('\n');
                    break;
            }
        }
    }

    private static string Scalar(object value) => value switch
    {
        bool b => b ? "true" : "false",
        string s => NeedsQuotes(s) ? JsonSerializer.Serialize(s, QuotedText.Default.String) : s,
        _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    /// <summary>Whether a plain scalar would be read as something else, by any reader of YAML 1.1 or 1.2.</summary>
    private static bool NeedsQuotes(string s) =>
        s.Length == 0 || !char.IsAsciiLetter(s[0]) && s[0] != '/' || s[^1] is ':' or ' '
        || s.Any(c => c is < ' ' or > '~' or '#' or ',' or '[' or ']' or '{' or '}' or '"' or '\'')
        || s.Contains(": ", StringComparison.Ordinal)
        || s.ToLowerInvariant() is "true" or "false" or "yes" or "no" or "on" or "off" or "null" or "y" or "n";
}

/// <summary>Serialises text without reflection, which keeps the command line quick.</summary>
[System.Text.Json.Serialization.JsonSerializable(typeof(string))]
internal sealed partial class QuotedText : System.Text.Json.Serialization.JsonSerializerContext;
