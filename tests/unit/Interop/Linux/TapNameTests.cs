using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed class TapNameTests
{
    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("sixteen-bytes-xx")]
    [InlineData("acht-byte-öäüß")] // 14 letters, 18 bytes
    [InlineData("a/b")]
    [InlineData("a:b")]
    [InlineData("a b")]
    [InlineData("a\tb")]
    [InlineData("a\0b")]
    [InlineData("a%b")]
    [InlineData("a%d%d")]
    public void Impossible_names_are_refused(string name)
    {
        Assert.Throws<ArgumentException>(() => Tap.ValidateName(name, allowPattern: true));
        Assert.Throws<ArgumentException>(() => Tap.Create(name));
    }

    [Theory]
    [InlineData("a", false)]
    [InlineData("fifteen-bytes-x", false)]
    [InlineData("eth0.100@x", false)]
    [InlineData("dp%d", true)]
    public void Possible_names_are_not(string name, bool pattern) => Tap.ValidateName(name, pattern);
}
