using System.Globalization;
using Dataplane.Memory;

namespace Dataplane.Control.State;

/// <summary>VLAN identifiers as text: "10" or "100-199".</summary>
public static class VlanRanges
{
    public const int First = 1;

    /// <summary>4095 is reserved (IEEE 802.1Q, table 9-2).</summary>
    public const int Last = 4094;

    public static bool IsValid(uint vlan) => vlan is >= First and <= Last;

    /// <summary>Reads one VLAN or one range. Gives what is wrong with it, or null.</summary>
    public static string? TryParse(string text, out (int First, int Last) range)
    {
        range = default;
        string[] ends = text.Split('-', 2, StringSplitOptions.TrimEntries);
        if (!TryParseOne(ends[0], out int first) || !TryParseOne(ends[^1], out int last))
        {
            return $"\"{text}\" is not a VLAN (10) or a range of VLANs (100-199)";
        }
        range = (first, last);
        if (first < First || last > Last)
        {
            return $"VLANs {text}: identifiers go from {First} to {Last}";
        }
        return first > last ? $"VLANs {text}: the range ends before it begins" : null;
    }

    /// <summary>All of the ranges, which were validated. None named means all VLANs.</summary>
    public static VlanSet ToSet(IEnumerable<string> ranges)
    {
        var set = new VlanSet();
        bool any = false;
        foreach (string text in ranges)
        {
            if (TryParse(text, out (int First, int Last) range) is { } problem)
            {
                throw new FormatException(problem);
            }
            AddRange(ref set, range.First, range.Last);
            any = true;
        }
        if (!any)
        {
            AddRange(ref set, First, Last);
        }
        return set;
    }

    private static void AddRange(ref VlanSet set, int first, int last)
    {
        for (int vlan = first; vlan <= last; vlan++)
        {
            VlanSet.Add(ref set, vlan);
        }
    }

    private static bool TryParseOne(string text, out int vlan) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out vlan);
}
