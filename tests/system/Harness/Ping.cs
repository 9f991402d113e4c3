using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.SystemTests.Harness;

/// <summary>The real <c>ping</c>.</summary>
public static partial class Ping
{
    /// <summary>Every packet must be answered. <paramref name="size"/> is the whole of the IPv4 packet, as MTUs count.</summary>
    public static void Reaches(Station from, string target, int size = 64, params string[] options) =>
        Once(from, target, size, options).Succeeds();

    /// <summary>No packet may be answered.</summary>
    public static void DoesNotReach(Station from, string target, int size = 64, params string[] options)
    {
        Finished result = Once(from, target, size, options);
        Assert.True(result.ExitCode == 1 && result.Output.Contains(" 0 received", StringComparison.Ordinal), result.ToString());
    }

    /// <summary>Pings until it is ended; each answer is a line.</summary>
    public static ContinuousPing Start(Station from, string target, string interval) => new(from, target, interval);

    internal static Finished Once(Station from, string target, int size, string[] options)
    {
        int headers = target.Contains(':', StringComparison.Ordinal) ? 40 + 8 : 20 + 8;
        string payload = (size - headers).ToString(CultureInfo.InvariantCulture);
        return from.Namespace.Run(["ping", "-n", "-c", "3", "-i", "0.02", "-W", "1", "-s", payload, .. options, target]);
    }

    [GeneratedRegex(@"icmp_seq=(\d+) ttl")]
    internal static partial Regex Answer();
}

/// <summary>A ping beside the test.</summary>
public sealed class ContinuousPing : IDisposable
{
    private readonly Tool _tool;

    internal ContinuousPing(Station from, string target, string interval)
    {
        _tool = from.Namespace.Start("ping", "-n", "-i", interval, target);
        try
        {
            WaitForMore(1);
        }
        catch
        {
            _tool.Dispose(); // nobody else will
            throw;
        }
    }

    /// <summary>Sequence numbers of the answers so far.</summary>
    public IReadOnlyList<int> Answers => [.. Ping.Answer().Matches(_tool.Output).Select(m => int.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture))];

    /// <summary>Waits for so many further answers.</summary>
    public void WaitForMore(int count)
    {
        int before = Answers.Count;
        Until.True(() => Answers.Count >= before + count, $"{count} more answers than {before}", () => _tool.Output + _tool.Error);
    }

    /// <summary>
    /// Ends it. Gives the sequence numbers that were not answered, below the highest that was: what was on its way at the end
    /// is not lost, so wait for some more answers first.
    /// </summary>
    public IReadOnlyList<int> End()
    {
        _tool.Interrupt();
        IReadOnlyList<int> answers = Answers;
        return [.. Enumerable.Range(1, answers.Max()).Except(answers)];
    }

    public void Dispose() => _tool.Dispose();
}
