using System.Diagnostics;

namespace Dataplane.SystemTests.Harness;

/// <summary>Waiting for something to come true, with an end. No test sleeps for a time and hopes.</summary>
public static class Until
{
    /// <summary>Long enough for a machine that does other things too.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);

    /// <summary>Waits until the condition holds; fails with what was waited for.</summary>
    public static void True(Func<bool> condition, string what, Func<string>? details = null)
    {
        var waited = Stopwatch.StartNew();
        while (!condition())
        {
            if (waited.Elapsed > Patience)
            {
                Assert.Fail($"waited {Patience.TotalSeconds:0} s in vain: {what}{(details is null ? "" : $"\n{details()}")}");
            }
            Thread.Sleep(Interval);
        }
    }

    /// <summary>Waits until two values are equal; fails with both.</summary>
    public static void Equal<T>(T expected, Func<T> actual, string what)
    {
        T last = default!;
        True(() => EqualityComparer<T>.Default.Equals(expected, last = actual()), what, () => $"expected: {expected}\nactual:   {last}");
    }

    /// <summary>Repeats assertions until all of them hold; the last failure is the test's.</summary>
    public static void Holds(Action assertions)
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                assertions();
                return;
            }
            catch (Xunit.Sdk.XunitException) when (waited.Elapsed < Patience)
            {
                Thread.Sleep(Interval);
            }
        }
    }
}
