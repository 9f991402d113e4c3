using Dataplane.Control.Api.V1;
using Grpc.Core;

namespace Dataplane.Control.State;

/// <summary>Everything that is wrong with one request, and how the call that made it ends.</summary>
public sealed class ProblemException(StatusCode code, IReadOnlyList<Problem> problems)
    : Exception(string.Join('\n', problems.Select(ProblemText.Line)))
{
    public StatusCode Code { get; } = code;
    public IReadOnlyList<Problem> Problems { get; } = problems;

    /// <summary>Revision of the state that the request was checked against, where it was one of changes.</summary>
    public ulong? Revision { get; init; }

    /// <summary>One problem that is about no resource.</summary>
    public ProblemException(StatusCode code, string message, string fix = "")
        : this(code, [new Problem { Message = message, Fix = fix }])
    {
    }
}

/// <summary>Problems as people read them.</summary>
public static class ProblemText
{
    /// <summary><c>port "web": address 10.0.0.1/24 is outside network "blue" (172.18.0.0/16)</c>, and the fix behind it.</summary>
    public static string Line(Problem problem)
    {
        string subject = problem.Kind == Kind.Unspecified ? "" : $"{problem.Kind.Text} \"{problem.Name}\": ";
        string fix = problem.Fix.Length == 0 ? "" : $"; {problem.Fix}";
        return subject + problem.Message + fix;
    }
}

/// <summary>Collects problems. The worst one decides the status of the call.</summary>
public sealed class ProblemCollector
{
    private readonly List<(StatusCode Code, Problem Problem)> _found = [];

    public bool Any => _found.Count > 0;
    public IReadOnlyList<Problem> All => [.. _found.Select(f => f.Problem)];

    public void Add(Kind kind, string name, string field, string message, string fix = "", StatusCode code = StatusCode.InvalidArgument) =>
        _found.Add((code, new Problem { Kind = kind, Name = name, Field = field, Message = message, Fix = fix }));

    /// <summary>A request that can never succeed outweighs one that could after a change elsewhere.</summary>
    /// <param name="revision">See <see cref="ProblemException.Revision"/>.</param>
    public ProblemException ToException(ulong? revision = null)
    {
        StatusCode[] order =
            [StatusCode.InvalidArgument, StatusCode.NotFound, StatusCode.AlreadyExists, StatusCode.Aborted, StatusCode.FailedPrecondition];
        StatusCode code = _found.Select(f => f.Code).OrderBy(c => Array.IndexOf(order, c) is var i && i < 0 ? order.Length : i).First();
        return new ProblemException(code, All) { Revision = revision };
    }
}
