using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary>Problems that the daemon found, at the lines of the files they come from.</summary>
internal static class Problems
{
    /// <summary>One line per problem, <c>switch.yaml:12: port "web": …</c>; the first without "error: ", which the caller writes.</summary>
    public static string Locate(IReadOnlyList<Problem> problems, IReadOnlyList<LocatedResource> located) =>
        string.Join("\nerror: ", problems.Select(p =>
        {
            LocatedResource? source = located.LastOrDefault(l => l.Resource.Kind == p.Kind && (l.Resource.Name == p.Name || l.Resource.KeyName == p.Name));
            return source is null ? ProblemText.Line(p) : $"{source.File}:{source.LineOf(p.Field)}: {ProblemText.Line(p)}";
        }));
}
