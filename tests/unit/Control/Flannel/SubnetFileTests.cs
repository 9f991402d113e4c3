using Dataplane.Control.Flannel;
using Dataplane.UnitTests.Interop.Linux;

namespace Dataplane.UnitTests.Control.Flannel;

public sealed class SubnetFileTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>The sample of flannel's Documentation/reservations.md.</summary>
    private const string Golden = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.52.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";

    /// <summary>That of Documentation/configuration.md, but for masquerading.</summary>
    private const string GoldenDual =
        "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\nFLANNEL_IPV6_NETWORK=2001:cafe:42::/56\nFLANNEL_IPV6_SUBNET=2001:cafe:42::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";

    private const string GoldenIPv6 = "FLANNEL_IPV6_NETWORK=2001:cafe:42::/56\nFLANNEL_IPV6_SUBNET=2001:cafe:42::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";

    [Theory]
    [InlineData(Golden, """{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}""", "10.5.52.0-24")]
    [InlineData(GoldenDual, """{"Network": "10.42.0.0/16", "EnableIPv6": true, "IPv6Network": "2001:cafe:42::/56", "Backend": {"Type": "vxlan"}}""", "10.42.0.0-24&2001:cafe:42::-64")]
    [InlineData(GoldenIPv6, """{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "2001:cafe:42::/56", "Backend": {"Type": "vxlan"}}""", "0.0.0.0-0&2001:cafe:42::-64")]
    public void IsFlanneldsBytes(string golden, string config, string key)
    {
        Assert.True(LeaseSubnets.TryParse(key, out LeaseSubnets? subnets));
        Assert.Equal(golden, SubnetFile.Content(FlannelConfigReader.Read(config), subnets.Value, 1450));
        string path = _directory.File("run/flannel/subnet.env");
        SubnetFile.Write(path, golden);
        Assert.Equal(golden, File.ReadAllText(path));
        Assert.Equal(subnets, SubnetFile.ReadSubnets(path));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead, File.GetUnixFileMode(path));
        Assert.Equal([path], Directory.GetFiles(Path.GetDirectoryName(path)!));
    }

    [Fact]
    public async Task AReaderSeesTheOldOrTheNewOneWhole()
    {
        string path = _directory.File("subnet.env");
        SubnetFile.Write(path, Golden);
        using var end = new CancellationTokenSource();
        Task<int> reader = Task.Run(() =>
        {
            int reads = 0;
            for (; !end.IsCancellationRequested || reads == 0; reads++)
            {
                Assert.Contains(File.ReadAllText(path), new[] { Golden, GoldenDual });
            }
            return reads;
        });
        for (int i = 0; i < 200; i++)
        {
            SubnetFile.Write(path, i % 2 == 0 ? GoldenDual : Golden);
        }
        await end.CancelAsync();
        Assert.True(await reader > 0);
    }

    [Fact]
    public void ItIsLeftAloneWhenItIsSoAlready()
    {
        string path = _directory.File("subnet.env");
        SubnetFile.Write(path, Golden);
        File.SetLastWriteTimeUtc(path, DateTime.UnixEpoch);
        SubnetFile.Write(path, Golden);
        Assert.Equal(DateTime.UnixEpoch, File.GetLastWriteTimeUtc(path));
    }

    [Theory]
    [InlineData("", null)]
    [InlineData("FLANNEL_NETWORK=10.5.0.0/16\n", null)]
    [InlineData("FLANNEL_SUBNET=10.5.52.1\n", null)]
    [InlineData("FLANNEL_SUBNET=fd00::1/64\n", null)]
    [InlineData("FLANNEL_SUBNET=10.5.52.1/24,10.6.1.1/24\n", null)]
    [InlineData("# by hand\n FLANNEL_SUBNET=\"10.5.52.1/24\" \n", "10.5.52.0-24")]
    public void ReadsWhatItCan(string content, string? key)
    {
        string path = _directory.File("subnet.env");
        File.WriteAllText(path, content);
        Assert.Equal(key, SubnetFile.ReadSubnets(path)?.Key);
        Assert.Null(SubnetFile.ReadSubnets(_directory.File("nowhere")));
    }
}
