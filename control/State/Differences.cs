using System.Collections;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace Dataplane.Control.State;

/// <summary>What differs between two versions of a resource, field by field.</summary>
public static class Differences
{
    private static readonly HashSet<string> OutputOnly = ["revision", "status", "owner"];

    /// <summary>Lines such as <c>tap.addresses: [172.18.0.2/16] -> [172.18.0.3/16]</c>.</summary>
    public static IEnumerable<string> Between(IMessage before, IMessage after) => Between(before, after, "");

    private static IEnumerable<string> Between(IMessage before, IMessage after, string path)
    {
        foreach (FieldDescriptor field in before.Descriptor.Fields.InDeclarationOrder())
        {
            if (path.Length == 0 && OutputOnly.Contains(field.Name))
            {
                continue;
            }
            object? left = Value(before, field), right = Value(after, field);
            if (left is IMessage l && right is IMessage r)
            {
                foreach (string line in Between(l, r, $"{path}{field.Name}."))
                {
                    yield return line;
                }
            }
            else if (Text(left) is var a && Text(right) is var b && a != b)
            {
                yield return $"{path}{field.Name}: {a} -> {b}";
            }
        }
    }

    private static object? Value(IMessage message, FieldDescriptor field) =>
        field.HasPresence && !field.Accessor.HasValue(message) ? null : field.Accessor.GetValue(message);

    private static string Text(object? value) => value switch
    {
        null or "" => "(default)",
        bool b => b ? "true" : "false",
        string s => s,
        IMessage m => m.CalculateSize() == 0 ? "{}" : JsonFormatter.ToDiagnosticString(m),
        IEnumerable list => $"[{string.Join(", ", list.Cast<object>())}]",
        _ => Convert.ToString(value, System.Globalization.CultureInfo.InvariantCulture) ?? "",
    };
}
