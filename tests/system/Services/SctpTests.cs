using System.Net.Sockets;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Services;

/// <summary>SCTP (RFC 9260) through a service: the kernel's, where it has it, and packets made by hand, which any kernel lets through.</summary>
public sealed class SctpTests(ServiceNode node) : ServiceTest(node)
{
    /// <summary>Associations of the kernel, with the test program of its developers.</summary>
    [SctpFact]
    public void AnAssociationOfTheKernelGoesThroughAService()
    {
        MakeService("7/sctp", "one");
        using Tool server = Node.Lan["one"].Namespace.Start("sctp_test", "-H", Node.Lan["one"].Address, "-P", "7", "-l");
        server.WaitFor("Server: Receiving packets");
        Node.Client.Do("sctp_test", "-H", Node.Lan["client"].Address, "-P", "7007", "-h", Vip, "-p", "7", "-s", "-c", "1", "-x", "10");
        server.WaitFor("COMMUNICATION_UP");
        server.WaitFor("Data ");
    }

    /// <summary>
    /// A whole association with a message and its echo. Both ends check the CRC of every packet, and the client takes only what comes from
    /// the service's address and port; behind a port of another number the checksum must have been corrected.
    /// </summary>
    [Theory, InlineData("7:7007/sctp"), InlineData("9/sctp")]
    public void AnAssociationGoesThroughAService(string port)
    {
        string[] ports = port.Split('/')[0].Split(':');
        MakeService(port, "one", "two");
        foreach (string label in new[] { "one", "two" })
        {
            Own(Node.Lan[label].Namespace.Start("python3", "-c", Endpoint, "serve", ports[^1], label)).WaitFor("serving");
        }
        foreach ((Namespace client, string seen) in Node.Clients)
        {
            string[] answers = [.. Enumerable.Range(0, 10).Select(i => client.Do("python3", "-c", Endpoint, "ask", Vip, ports[0], $"{40_000 + i}"))];
            Assert.All(answers, answer => Assert.Contains(answer, new[] { $"one {seen}\n", $"two {seen}\n" }));
        }
    }

    /// <summary>
    /// One end of an association by raw socket. "serve PORT NAME" answers each message with its name and the client's address; "ask ADDRESS
    /// PORT OWN-PORT" opens one, sends a message, prints the answer, and shuts down in order.
    /// </summary>
    private const string Endpoint = """
        import os, socket, struct, sys
        table = []
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
            table.append(n)
        def crc(data):
            sum = 0xFFFFFFFF
            for b in data:
                sum = sum >> 8 ^ table[(sum ^ b) & 255]
            return struct.pack('<I', sum ^ 0xFFFFFFFF)
        def packet(here, there, tag, *chunks):
            body = b''
            for kind, flags, value in chunks:
                body += struct.pack('!BBH', kind, flags, 4 + len(value)) + value + bytes(-len(value) % 4)
            head = struct.pack('!HHI', here, there, tag)
            return head + crc(head + bytes(4) + body) + body
        def read(data):
            ip = data[(data[0] & 15) * 4:struct.unpack('!H', data[2:4])[0]]
            here, there, tag = struct.unpack('!HHI', ip[:8])
            assert ip[8:12] == crc(ip[:8] + bytes(4) + ip[12:]), 'bad checksum'
            chunks, at = [], 12
            while at < len(ip):
                kind, flags, length = struct.unpack('!BBH', ip[at:at + 4])
                chunks.append((kind, ip[at + 4:at + length]))
                at += length + -length % 4
            return here, there, tag, chunks
        DATA, INIT, INIT_ACK, SACK, SHUTDOWN, SHUTDOWN_ACK, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 0, 1, 2, 3, 7, 8, 10, 11, 14
        def init(tag):
            return struct.pack('!IIHHI', tag, 65536, 1, 1, 1)
        def data(text):
            return struct.pack('!IHHI', 1, 0, 0, 0) + text
        sack = struct.pack('!IIHH', 1, 65536, 0, 0)
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
        s.settimeout(10)
        if sys.argv[1] == 'serve':
            s.settimeout(None)
            port, name, own, peers = int(sys.argv[2]), sys.argv[3], 0x5E52, {}
            print('serving', flush=True)
            while True:
                received, (client, _) = s.recvfrom(65536)
                source, destination, tag, chunks = read(received)
                if destination != port:
                    continue
                kind, value = chunks[0]
                if kind == INIT:
                    peers[client, source] = struct.unpack('!I', value[:4])[0]
                    answer = [(INIT_ACK, 0, init(own) + struct.pack('!HH', 7, 8) + b'cake')]
                else:
                    assert tag == own, 'bad verification tag'
                    answer = {COOKIE_ECHO: [(COOKIE_ACK, 0, b'')], DATA: [(SACK, 0, sack), (DATA, 3, data((name + ' ' + client).encode()))],
                        SHUTDOWN: [(SHUTDOWN_ACK, 0, b'')]}.get(kind)
                if answer:
                    s.sendto(packet(port, source, peers[client, source], *answer), (client, 0))
        else:
            address, port, own, tag = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int.from_bytes(os.urandom(4), 'big')
            s.connect((address, 0))
            def ask(peer, expected, *chunks):
                s.send(packet(own, port, peer, *chunks))
                while True:
                    source, destination, seen, answer = read(s.recv(65536))
                    if destination == own:
                        assert (source, seen, answer[0][0]) == (port, tag, expected), (source, seen, answer)
                        return answer
            value = ask(0, INIT_ACK, (INIT, 0, init(tag)))[0][1]
            peer = struct.unpack('!I', value[:4])[0]
            ask(peer, COOKIE_ACK, (COOKIE_ECHO, 0, value[20:24]))
            print(ask(peer, SACK, (DATA, 3, data(b'hello')))[1][1][12:].decode())
            s.send(packet(own, port, peer, (SACK, 0, sack)))
            ask(peer, SHUTDOWN_ACK, (SHUTDOWN, 0, struct.pack('!I', 1)))
            s.send(packet(own, port, peer, (SHUTDOWN_COMPLETE, 0, b'')))
        """;
}

/// <summary>A test that needs SCTP in the kernel.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SctpFactAttribute : FactAttribute
{
    public SctpFactAttribute()
    {
        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, (ProtocolType)132);
        }
        catch (SocketException)
        {
            Skip = "this kernel has no SCTP, neither built in nor as a module";
        }
    }
}
