using System.CommandLine.Parsing;
using System.Globalization;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>Option values with commas between them.</summary>
internal static class NumberList
{
    /// <summary>Reads numbers from <paramref name="least"/> to <paramref name="most"/>.</summary>
    public static Func<ArgumentResult, int[]> Parser(int least, int most) => argument =>
    {
        var numbers = new List<int>();
        foreach (string text in Texts(argument))
        {
            if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number < least || number > most)
            {
                argument.AddError($"\"{text}\" is not a number from {least} to {most}");
            }
            numbers.Add(number);
        }
        return [.. numbers];
    };

    public static IEnumerable<string> Texts(ArgumentResult argument) =>
        argument.Tokens.SelectMany(token => token.Value.Split(',', StringSplitOptions.TrimEntries));
}
