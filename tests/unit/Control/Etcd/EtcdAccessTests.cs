using Dataplane.Control.State.Etcd;
using Dataplane.UnitTests.Interop.Linux;
using Etcdserverpb;
using Google.Protobuf;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>Who may use the cluster's etcd, and what is said to those who may not.</summary>
public sealed class EtcdAccessTests : IDisposable
{
    private const string Secret = "correct horse battery";

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task CertificatesOfBothSidesAreChecked()
    {
        var certificates = new Certificates(_directory.Path);
        certificates.Sign("server");
        certificates.Sign("node");
        using var etcd = new EtcdServer("https", "--cert-file", certificates.File("server.pem"), "--key-file", certificates.File("server.key"),
            "--client-cert-auth", "--trusted-ca-file", certificates.File("ca.pem"));
        var options = new EtcdOptions { Servers = [etcd.Address], Prefix = "/dp", Node = "a", AuthorityFile = certificates.File("ca.pem") };

        await using (EtcdNode node = await EtcdNode.InStep(
            options with { CertificateFile = certificates.File("node.pem"), KeyFile = certificates.File("node.key") }, _directory.File("a.db")))
        {
            await node.Bench.Apply(Make.Net("blue"), Make.Memory("web", "blue"));
            Assert.True(node.Status.Available);
        }

        Directory.CreateDirectory(_directory.File("other"));
        var stranger = new Certificates(_directory.File("other"));
        stranger.Sign("node");
        foreach (EtcdOptions wrong in new[]
        {
            options, // no certificate of ours
            options with { CertificateFile = stranger.File("node.pem"), KeyFile = stranger.File("node.key") },
            options with { AuthorityFile = stranger.File("ca.pem"), CertificateFile = certificates.File("node.pem"), KeyFile = certificates.File("node.key") },
            options with { AuthorityFile = null },
        })
        {
            await using var node = new EtcdNode(wrong, _directory.File("b.db"));
            await node.Until(n => n.Status.Reason.Contains("does not answer: ", StringComparison.Ordinal));
            Assert.False(node.Status.Available);
            await node.Until(n => !n.Log.Lines.IsEmpty);
            // Nothing of a key: what its file holds is base64 in lines.
            string key = File.ReadAllLines(certificates.File("node.key"))[1];
            Assert.DoesNotContain(node.Log.Lines, line => line.Contains(key, StringComparison.Ordinal) || line.Contains("PRIVATE", StringComparison.Ordinal));
        }

        await using var missing = new EtcdNode(options with { AuthorityFile = _directory.File("nowhere.pem") }, _directory.File("c.db"));
        await missing.Until(n => n.Status.Reason.Contains("look at --store-ca, --store-cert and --store-key", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AUserNeedsItsPasswordAndTheRightToThePrefix()
    {
        using var etcd = new EtcdServer();
        var auth = new Auth.AuthClient(etcd.Channel);
        auth.UserAdd(new AuthUserAddRequest { Name = "root", Password = "r" });
        auth.UserGrantRole(new AuthUserGrantRoleRequest { User = "root", Role = "root" });
        auth.RoleAdd(new AuthRoleAddRequest { Name = "switch" });
        auth.RoleGrantPermission(new AuthRoleGrantPermissionRequest
        {
            Name = "switch",
            Perm = new Authpb.Permission { PermType = Authpb.Permission.Types.Type.Readwrite, Key = ByteString.CopyFromUtf8("/dp/"), RangeEnd = ByteString.CopyFromUtf8("/dp0") },
        });
        auth.UserAdd(new AuthUserAddRequest { Name = "node", Password = Secret });
        auth.UserGrantRole(new AuthUserGrantRoleRequest { User = "node", Role = "switch" });
        auth.AuthEnable(new AuthEnableRequest());

        string file = _directory.File("password");
        File.WriteAllText(file, Secret + "\n");
        var options = new EtcdOptions { Servers = [etcd.Address], Prefix = "/dp", Node = "a", User = "node", PasswordFile = file };
        await using (EtcdNode node = await EtcdNode.InStep(options, _directory.File("a.db")))
        {
            await node.Bench.Apply(Make.Net("blue"));
            await node.Bench.Apply(Make.Net("green"));
            etcd.Stop(); // and with it the token
            await node.Until(n => !n.Status.Available);
            etcd.Start();
            await node.Until(n => n.Status.Available);
            await node.Bench.Apply(Make.Net("red"));
            await node.Until(n => !n.Log.Lines.IsEmpty);
            Assert.DoesNotContain(node.Log.Lines, line => line.Contains("horse", StringComparison.Ordinal));
        }

        File.WriteAllText(_directory.File("wrong"), "incorrect horse\n");
        await Refused(options with { PasswordFile = _directory.File("wrong") }, "authentication failed, invalid user ID or password");
        await Refused(options with { PasswordFile = null }, "the password of etcd's user \"node\" is missing; name a file with it by --store-password-file");
        await Refused(options with { PasswordFile = _directory.File("nowhere") }, "the file with the password of etcd's user cannot be read");
        await Refused(options with { User = null }, "user name is empty");
        await Refused(options with { Prefix = "/elsewhere" }, "permission denied");

        async Task Refused(EtcdOptions wrong, string reason)
        {
            await using var node = new EtcdNode(wrong, _directory.File("b.db"));
            await node.Until(n => n.Status.Reason.Contains(reason, StringComparison.Ordinal));
            Assert.False(node.Status.Available);
            Assert.DoesNotContain("horse", node.Status.ToString(), StringComparison.Ordinal);
            await node.Until(n => !n.Log.Lines.IsEmpty);
            Assert.DoesNotContain(node.Log.Lines, line => line.Contains("horse", StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("etcd://a", "a:2379", "/dataplane")]
    [InlineData("etcd://a:1,b:2/", "a:1 b:2", "/dataplane")]
    [InlineData("etcd://[::1]:2379,c/x/y/", "[::1]:2379 c:2379", "/x/y")]
    public void AnAddressNamesServersAndPrefix(string text, string servers, string prefix)
    {
        (IReadOnlyList<string> found, string begin) = EtcdOptions.Parse(text);
        Assert.Equal((servers, prefix), (string.Join(' ', found), begin));
    }

    [Theory]
    [InlineData("http://a", "a store is etcd://HOST:PORT[,HOST:PORT]/PREFIX")]
    [InlineData("etcd://", "\":2379\" is not HOST:PORT")]
    [InlineData("etcd://a:b", "\"a:b\" is not HOST:PORT")]
    [InlineData("etcd://me:secret@a", "a user is named by --store-user")]
    public void AnAddressThatIsNoneIsRefused(string text, string message)
    {
        FormatException error = Assert.Throws<FormatException>(() => EtcdOptions.Parse(text));
        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
    }
}
