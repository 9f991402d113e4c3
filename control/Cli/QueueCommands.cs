using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane queue …</c></summary>
internal static class QueueCommands
{
    public static Command Build() => new Command("queue", "Which worker polls which receive queue") { BuildList(), BuildAssign() }
        .WithExamples("dataplane queue list", "dataplane queue assign uplink 1 0");

    private static Command BuildList()
    {
        var ports = new Argument<string[]>("PORT") { Description = "Only these ports", Arity = ArgumentArity.ZeroOrMore }.CompletesNames(Kind.Port);
        return new Command("list", "List receive queues, each with its worker") { ports, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var request = new GetQueuesRequest { Ports = { parsed.GetValue(ports) ?? [] } };
                Print(await client.Stats.GetQueuesAsync(request, deadline: Client.Deadline, cancellationToken: cancel), parsed.GetValue(Options.Output));
            })
            .WithExamples("dataplane queue list", "dataplane queue list uplink", "dataplane stats --workers                 how busy each worker is");
    }

    private static Command BuildAssign()
    {
        Argument<string> port = Options.Name("Name of the port", Kind.Port);
        var queue = new Argument<uint>("QUEUE") { Description = "Number of the receive queue, from 0" };
        var worker = new Argument<uint>("WORKER") { Description = "Number of the worker that is to poll it, from 0" };
        return new Command(
            "assign",
            "Give a receive queue to another worker while packets flow: none is lost or overtaken. It stays there until the port goes or the engine ends; "
            + "with `run --balance` the engine may move it again")
        {
            port, queue, worker, Options.Output,
        }
            .Calls(async (parsed, client, cancel) =>
            {
                var request = new AssignQueueRequest { Port = parsed.GetRequiredValue(port), Queue = parsed.GetRequiredValue(queue), Worker = parsed.GetRequiredValue(worker) };
                Print(await client.Admin.AssignQueueAsync(request, deadline: Client.Deadline, cancellationToken: cancel), parsed.GetValue(Options.Output));
            })
            .WithExamples("dataplane queue assign uplink 1 0");
    }

    private static void Print(QueueList list, OutputFormat format)
    {
        if (!Output.TryPrint(format, list))
        {
            Output.Table(["PORT", ">QUEUE", ">WORKER"], list.Queues.Select(q => new[] { q.Port, $"{q.Queue_}", $"{q.Worker}" }));
        }
    }
}
