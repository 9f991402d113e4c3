using System.Collections;
using System.Globalization;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Dataplane.Control.Manifests;

/// <summary>Fills a protobuf message from a YAML node, by the message's own description, and collects what does not fit.</summary>
public sealed class MessageReader(string file)
{
    private readonly List<ManifestProblem> _problems = [];

    public string File { get; } = file;
    public IReadOnlyList<ManifestProblem> Problems => _problems;

    public void Report(YamlNode node, string message) => _problems.Add(new ManifestProblem(File, node.Start.Line, node.Start.Column, message));

    /// <summary>Fills a message. Gives the line of every field by its path.</summary>
    public Dictionary<string, long> ReadInto(IMessage message, YamlNode node)
    {
        var lines = new Dictionary<string, long>(StringComparer.Ordinal);
        ReadMessage(message, node, "", lines);
        return lines;
    }

    /// <summary>The field of a name (snake_case or lowerCamelCase), or null after reporting that there is none.</summary>
    public FieldDescriptor? FindField(MessageDescriptor type, YamlNode key, string name)
    {
        FieldDescriptor? field = type.Fields.InDeclarationOrder().FirstOrDefault(f => f.Name == name || f.JsonName == name);
        if (field is null)
        {
            string[] names = [.. type.Fields.InDeclarationOrder().Select(f => f.Name)];
            string? close = names.Select(n => (Name: n, Distance: Distance(n, name))).Where(c => c.Distance <= Math.Max(1, name.Length / 3))
                .OrderBy(c => c.Distance).Select(c => c.Name).FirstOrDefault();
            string hint = close is not null ? $"did you mean \"{close}\"?" : $"fields are {string.Join(", ", names)}";
            Report(key, $"unknown field \"{name}\" of {Title(type)}; {hint}");
        }
        return field;
    }

    private void ReadMessage(IMessage message, YamlNode node, string path, Dictionary<string, long> lines)
    {
        MessageDescriptor type = message.Descriptor;
        if (node is YamlScalarNode { Value: null or "" or "~" or "null" })
        {
            return; // "tap:" alone is a message with all defaults
        }
        if (node is not YamlMappingNode mapping)
        {
            Report(node, $"{Where(path, type)}: expected fields, found {Describe(node)}");
            return;
        }
        var oneofs = new Dictionary<OneofDescriptor, string>();
        foreach ((YamlNode key, YamlNode value) in mapping.Children)
        {
            string name = (key as YamlScalarNode)?.Value ?? "";
            if (FindField(type, key, name) is not { } field)
            {
                continue;
            }
            if (field.RealContainingOneof is { } oneof && !oneofs.TryAdd(oneof, field.Name))
            {
                Report(key, $"{Title(type)} has both \"{oneofs[oneof]}\" and \"{field.Name}\", only one is possible");
                continue;
            }
            string fieldPath = path.Length == 0 ? field.Name : $"{path}.{field.Name}";
            lines[fieldPath] = key.Start.Line;
            ReadField(message, field, value, fieldPath, lines);
        }
    }

    private void ReadField(IMessage message, FieldDescriptor field, YamlNode value, string path, Dictionary<string, long> lines)
    {
        if (field.IsRepeated)
        {
            var list = (IList)field.Accessor.GetValue(message);
            // One value may stand without the brackets of a list of one.
            IEnumerable<YamlNode> items = value switch
            {
                YamlSequenceNode sequence => sequence,
                YamlScalarNode { Value: null or "" } => [],
                _ => [value],
            };
            foreach (YamlNode item in items)
            {
                lines[$"{path}[{list.Count}]"] = item.Start.Line;
                if (ReadValue(field, item, path, lines) is { } element)
                {
                    list.Add(element);
                }
            }
        }
        else if (ReadValue(field, value, path, lines) is { } single)
        {
            field.Accessor.SetValue(message, single);
        }
    }

    private object? ReadValue(FieldDescriptor field, YamlNode node, string path, Dictionary<string, long> lines)
    {
        if (field.FieldType == FieldType.Message)
        {
            IMessage child = field.MessageType.Parser.ParseFrom(ByteString.Empty);
            ReadMessage(child, node, path, lines);
            return child;
        }
        if (node is not YamlScalarNode scalar)
        {
            Report(node, $"{path}: expected {Describe(field)}, found {Describe(node)}");
            return null;
        }
        string text = scalar.Value ?? "";
        object? value = Parse(field, text, scalar.Style == ScalarStyle.Plain);
        if (value is null)
        {
            Report(node, $"{path}: \"{text}\" is not {Describe(field)}");
        }
        return value;
    }

    private static object? Parse(FieldDescriptor field, string text, bool plain)
    {
        CultureInfo c = CultureInfo.InvariantCulture;
        return field.FieldType switch
        {
            FieldType.String => text is "null" or "~" && plain ? "" : text,
            FieldType.Bool => text switch { "true" => true, "false" => false, _ => null },
            FieldType.UInt32 => uint.TryParse(text, NumberStyles.None, c, out uint u) ? u : null,
            FieldType.UInt64 => ulong.TryParse(text, NumberStyles.None, c, out ulong l) ? l : null,
            FieldType.Int32 => int.TryParse(text, NumberStyles.AllowLeadingSign, c, out int i) ? i : null,
            FieldType.Enum => field.EnumType.FindValueByName(text) is { } v ? Enum.ToObject(field.EnumType.ClrType, v.Number) : null,
            _ => null,
        };
    }

    private static string Describe(FieldDescriptor field) => field.FieldType switch
    {
        FieldType.Bool => "true or false",
        FieldType.UInt32 => "a whole number from 0 to 4294967295",
        FieldType.UInt64 => "a whole number",
        FieldType.Int32 => "a whole number",
        FieldType.Enum => "one of " + string.Join(", ", field.EnumType.Values.Select(v => v.Name)),
        _ => "a text",
    };

    private static string Describe(YamlNode node) => node switch
    {
        YamlSequenceNode => "a list",
        YamlMappingNode => "fields",
        YamlScalarNode s => $"\"{s.Value}\"",
        _ => "something else",
    };

    private static string Where(string path, MessageDescriptor type) => path.Length == 0 ? Title(type) : path;

    private static string Title(MessageDescriptor type) => type.Name switch
    {
        "StaticMac" => "static MAC",
        "StormControl" => "storm control",
        "TunnelPeer" => "tunnel peer",
        "NextHop" => "next hop",
        "ServicePort" => "port of a service",
        "BackendPort" => "port of a backend",
        "PublishedPort" => "published port",
        "Nat" => "NAT",
        "Vxlan" => "VXLAN",
        string name => name.ToLowerInvariant(),
    };

    /// <summary>Levenshtein's distance.</summary>
    private static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int cost = a[i - 1] == b[j - 1] ? diagonal : 1 + Math.Min(diagonal, Math.Min(row[j], row[j - 1]));
                diagonal = row[j];
                row[j] = cost;
            }
        }
        return row[b.Length];
    }
}
