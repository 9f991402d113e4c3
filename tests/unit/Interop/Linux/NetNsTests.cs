using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed class NetNsTests
{
    [RootFact]
    public void A_created_namespace_is_one_of_ip_netns()
    {
        using var test = new TestNamespace();
        Assert.Contains(test.Name, NetNs.List());
        Assert.Contains(test.Name, Shell.Run("ip", "netns", "list"));
        Assert.StartsWith("1: lo:", test.Exec("ip", "-o", "link"));
        using NetNs again = NetNs.OpenNamed(test.Name);
        Assert.True(again.IsSameAs(test.Ns));
        Assert.Equal($"net:[{again.Inode}]", test.Exec("readlink", "/proc/self/ns/net").Trim());
    }

    [RootFact]
    public void A_namespace_of_ip_netns_can_be_opened_and_deleted()
    {
        string name = $"dpunit-{Environment.ProcessId}-ip";
        Shell.Run("ip", "netns", "add", name);
        using (NetNs ns = NetNs.OpenNamed(name))
            Assert.NotEqual(Here(), ns.Identity);
        NetNs.Delete(name);
        Assert.DoesNotContain(name, NetNs.List());
    }

    [RootFact]
    public void Names_are_checked()
    {
        using var test = new TestNamespace();
        var e = Assert.Throws<LinuxException>(() => NetNs.Create(test.Name));
        Assert.Equal(Errno.EEXIST, e.Errno);
        Assert.Equal(Errno.ENOENT, Assert.Throws<LinuxException>(() => NetNs.OpenNamed("dpunit-none")).Errno);
        Assert.Equal(Errno.ENOENT, Assert.Throws<LinuxException>(() => NetNs.Delete("dpunit-none")).Errno);
        Assert.Throws<ArgumentException>(() => NetNs.Create("a/b"));
        Assert.Throws<ArgumentException>(() => NetNs.Delete(".."));
    }

    [Fact]
    public void What_is_not_a_network_namespace_is_refused()
    {
        Assert.Equal(Errno.EINVAL, Assert.Throws<LinuxException>(() => NetNs.OpenPath("/proc/self/ns/uts")).Errno);
        Assert.Equal(Errno.EINVAL, Assert.Throws<LinuxException>(() => NetNs.OpenPath("/proc/self/comm")).Errno);
    }

    [RootFact]
    public void The_namespace_of_a_process_is_found()
    {
        using var test = new TestNamespace();
        using System.Diagnostics.Process sleeper = Shell.Start("ip", "netns", "exec", test.Name, "sleep", "60");
        try
        {
            // "ip netns exec" enters the namespace and then becomes the program.
            SpinWait.SpinUntil(() => File.ReadAllText($"/proc/{sleeper.Id}/comm") == "sleep\n", TimeSpan.FromSeconds(10));
            using NetNs found = NetNs.OpenProcess(sleeper.Id);
            Assert.True(found.IsSameAs(test.Ns));
        }
        finally
        {
            sleeper.Kill();
        }
    }

    [RootFact]
    public void An_anonymous_namespace_is_another_one()
    {
        using NetNs ns = NetNs.CreateAnonymous();
        Assert.NotEqual(Here(), ns.Identity);
        Assert.Equal(ns.Identity, ns.Run(Here));
        Assert.DoesNotContain("eth0", ns.Run(() => File.ReadAllText("/proc/thread-self/net/dev")));
    }

    [RootFact]
    public void Run_returns_results_and_throws_what_was_thrown()
    {
        using NetNs ns = NetNs.CreateAnonymous();
        Assert.Equal(42, ns.Run(() => 42));
        Assert.Throws<FormatException>(() => ns.Run(() => throw new FormatException()));
        Refuses(() => Task.CompletedTask);
        Refuses(() => Task.FromResult(1));
        Refuses(() => ValueTask.FromResult(1));

        // Through Record, since Assert.Throws takes the task for something to await.
        void Refuses<T>(Func<T> asynchronous)
        {
            Exception? refused = Record.Exception(Try);
            Assert.IsType<ArgumentException>(refused);
            void Try() => ns.Run(asynchronous);
        }
    }

    [RootFact]
    public async Task Run_leaves_all_other_threads_where_they_are()
    {
        using NetNs ns = NetNs.CreateAnonymous();
        FileIdentity here = Here();
        Task<FileIdentity>[] work = [.. Enumerable.Range(0, 200).Select(i => Task.Run(() =>
        {
            if (i % 2 == 0)
                Assert.Equal(ns.Identity, ns.Run(Here));
            return Here();
        }))];
        Assert.All(await Task.WhenAll(work), identity => Assert.Equal(here, identity));
        Assert.Equal(here, Here());
        Assert.Empty(ThreadsLeftIn(ns));
    }

    [RootFact]
    public void A_thread_that_stays_in_a_namespace_is_seen()
    {
        using NetNs ns = NetNs.CreateAnonymous();
        Assert.Empty(ThreadsLeftIn(ns));
        using var entered = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        var stays = new Thread(() => ns.Run(() =>
        {
            entered.Set();
            leave.Wait();
        }));
        stays.Start();
        entered.Wait();
        Assert.Single(ThreadsIn(ns));
        leave.Set();
        stays.Join();
        Assert.Empty(ThreadsLeftIn(ns));
    }

    [RootFact]
    public void Who_may_not_is_told_so()
    {
        using NetNs ns = NetNs.CreateAnonymous();
        string message = "";
        Unprivileged.Run(() => message = Assert.Throws<LinuxException>(() => ns.Run(() => 1)).Message);
        Assert.Contains("Operation not permitted (errno 1). This needs root or CAP_SYS_ADMIN.", message);
    }

    /// <summary>
    /// The threads of this process that do not leave the namespace. A thread that was joined has run its last managed
    /// code, yet the kernel may list it a moment longer.
    /// </summary>
    private static IReadOnlyList<string> ThreadsLeftIn(NetNs ns)
    {
        SpinWait.SpinUntil(() => ThreadsIn(ns).Count == 0, TimeSpan.FromSeconds(30));
        return ThreadsIn(ns);
    }

    private static IReadOnlyList<string> ThreadsIn(NetNs ns) =>
        [.. Directory.GetDirectories("/proc/self/task").Where(thread => IsIn(ns, thread))];

    private static bool IsIn(NetNs ns, string thread)
    {
        try
        {
            using NetNs its = NetNs.OpenPath($"{thread}/ns/net");
            return its.IsSameAs(ns);
        }
        catch (LinuxException e) when (e.Errno is Errno.ENOENT or Errno.ESRCH or Errno.EINVAL)
        {
            return false;  // it ended while we looked
        }
    }

    private static FileIdentity Here()
    {
        using NetNs ns = NetNs.Current();
        return ns.Identity;
    }
}
