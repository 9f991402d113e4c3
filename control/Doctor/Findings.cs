using Dataplane.Control.Cli.V1;

namespace Dataplane.Control.Doctor;

/// <summary>What the checks found, in the order in which they looked.</summary>
internal sealed class Findings(bool wantsCards)
{
    private readonly List<Finding> _all = [];

    public IReadOnlyList<Finding> All => _all;

    public void Ok(string check, string about, string text) => Add(Finding.Types.Level.Ok, check, about, text, "");

    public void Warning(string check, string about, string text, string fix) => Add(Finding.Types.Level.Warning, check, about, text, fix);

    public void Problem(string check, string about, string text, string fix) => Add(Finding.Types.Level.Problem, check, about, text, fix);

    /// <summary>Something that only cards need.</summary>
    public void CardsLack(string check, string about, string text, string fix) =>
        Add(wantsCards ? Finding.Types.Level.Problem : Finding.Types.Level.Warning, check, about, text, fix);

    private void Add(Finding.Types.Level level, string check, string about, string text, string fix) =>
        _all.Add(new Finding { Level = level, Check = check, About = about, Text = text, Fix = fix });
}
