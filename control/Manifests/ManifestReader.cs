using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Dataplane.Control.Manifests;

/// <summary>A resource that was read, and where it stands, so that a problem found later can still point at its line.</summary>
public sealed record LocatedResource(Resource Resource, string File, long Line, IReadOnlyDictionary<string, long> FieldLines)
{
    /// <summary>The line of a field ("tap.addresses[1]"), or of the closest thing around it that has one.</summary>
    public long LineOf(string field)
    {
        for (string path = field; path.Length > 0; path = path[..Math.Max(0, path.LastIndexOfAny(['.', '[']))])
        {
            if (FieldLines.TryGetValue(path, out long line))
            {
                return line;
            }
        }
        return Line;
    }
}

/// <summary>
/// Reads resources from YAML or JSON (which is YAML too). A file holds any number of documents; a document is a manifest
/// (<c>networks:</c>, <c>ports:</c>, <c>routes:</c> and so on), or one resource with its <c>kind:</c>. Everything that is wrong
/// is reported with file and line: unknown fields, fields named twice, values of the wrong type.
/// </summary>
public static class ManifestReader
{
    /// <summary>Reads a file, every *.yaml, *.yml and *.json file of a directory (in the order of their names), or standard input ("-").</summary>
    /// <exception cref="ManifestException">Something cannot be understood.</exception>
    /// <exception cref="IOException">Something cannot be read.</exception>
    public static List<LocatedResource> ReadPath(string path)
    {
        if (path == "-")
        {
            return Read(Console.In, "-");
        }
        if (!Directory.Exists(path))
        {
            return ReadFile(path);
        }
        string[] files = [.. Directory.EnumerateFiles(path)
            .Where(f => Path.GetExtension(f) is ".yaml" or ".yml" or ".json").Order(StringComparer.Ordinal)];
        if (files.Length == 0)
        {
            throw new FileNotFoundException($"{path}: the directory holds no *.yaml, *.yml or *.json file");
        }
        var all = new List<LocatedResource>();
        var problems = new List<ManifestProblem>();
        foreach (string file in files)
        {
            try
            {
                all.AddRange(ReadFile(file));
            }
            catch (ManifestException e)
            {
                problems.AddRange(e.Problems);
            }
        }
        return problems.Count == 0 ? all : throw new ManifestException(problems);
    }

    /// <summary>Reads one text.</summary>
    /// <param name="text">YAML or JSON.</param>
    /// <param name="file">Its name, for messages.</param>
    public static List<LocatedResource> Read(TextReader text, string file)
    {
        var reading = new MessageReader(file);
        var stream = new YamlStream();
        string content = text.ReadToEnd();
        try
        {
            stream.Load(new StringReader(content));
        }
        catch (YamlException e)
        {
            throw new ManifestException([Explain(e, content, file)]);
        }
        var resources = new List<LocatedResource>();
        foreach (YamlDocument document in stream.Documents)
        {
            ReadDocument(document.RootNode, reading, resources);
        }
        return reading.Problems.Count == 0 ? resources : throw new ManifestException(reading.Problems);
    }

    /// <summary>The parser's complaint; where a tab is the cause it complains about another line, and does not name the tab.</summary>
    private static ManifestProblem Explain(YamlException error, string content, string file)
    {
        int tab = Array.FindIndex(content.Split('\n'), l => l.StartsWith('\t'));
        return tab >= 0
            ? new ManifestProblem(file, tab + 1, 1, "the line begins with a tab; YAML is indented with spaces")
            : new ManifestProblem(file, error.Start.Line, error.Start.Column, error.InnerException?.Message ?? error.Message);
    }

    private static List<LocatedResource> ReadFile(string file)
    {
        using var text = new StreamReader(file);
        return Read(text, file);
    }

    private static void ReadDocument(YamlNode root, MessageReader reading, List<LocatedResource> into)
    {
        if (root is YamlScalarNode { Value: null or "" })
        {
            return;
        }
        if (root is not YamlMappingNode mapping)
        {
            reading.Report(root, "expected a mapping such as \"networks: [...]\"");
            return;
        }
        if (mapping.Children.TryGetValue(new YamlScalarNode("kind"), out YamlNode? kind))
        {
            ReadOne(mapping, kind, reading, into);
            return;
        }
        foreach ((YamlNode key, YamlNode value) in mapping.Children)
        {
            string name = (key as YamlScalarNode)?.Value ?? "";
            if (reading.FindField(Manifest.Descriptor, key, name) is { } field)
            {
                ReadList(value, field, reading, into);
            }
        }
    }

    private static void ReadList(YamlNode node, FieldDescriptor field, MessageReader reading, List<LocatedResource> into)
    {
        switch (node)
        {
            case YamlSequenceNode sequence:
                foreach (YamlNode item in sequence)
                {
                    Add(item, field.MessageType, reading, into);
                }
                break;
            case YamlScalarNode { Value: null or "" }:
                break;
            default:
                reading.Report(node, $"{field.Name}: expected a list (lines that begin with \"- \")");
                break;
        }
    }

    private static void ReadOne(YamlMappingNode mapping, YamlNode kind, MessageReader reading, List<LocatedResource> into)
    {
        string text = (kind as YamlScalarNode)?.Value ?? "";
        if (!KindNames.TryParse(text, out Kind parsed))
        {
            reading.Report(kind, $"unknown kind \"{text}\"; kinds are {KindNames.All}");
            return;
        }
        var rest = new YamlMappingNode(mapping.Children.Where(c => c.Key is not YamlScalarNode { Value: "kind" }));
        Add(rest, ResourceKeys.DescriptorOf(parsed), reading, into, mapping.Start.Line);
    }

    private static void Add(YamlNode item, MessageDescriptor type, MessageReader reading, List<LocatedResource> into, long? line = null)
    {
        IMessage message = type.Parser.ParseFrom(ByteString.Empty);
        Dictionary<string, long> lines = reading.ReadInto(message, item);
        into.Add(new LocatedResource(ResourceKeys.Of(message), reading.File, line ?? item.Start.Line, lines));
    }
}
