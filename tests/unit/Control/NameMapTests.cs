using System.Globalization;
using Dataplane.Control.State;

namespace Dataplane.UnitTests.Control;

public sealed class NameMapTests
{
    private static readonly string[] s_names = [.. Enumerable.Range(0, 3000).Select(i => i.ToString("x4", CultureInfo.InvariantCulture))];

    [Fact]
    public void AnEmptyMapHasNothing()
    {
        Assert.Empty(NameMap<string>.Empty);
        Assert.Equal((0, true, false), (NameMap<string>.Empty.Count, NameMap<string>.Empty.IsEmpty, NameMap<string>.Empty.ContainsKey("a")));
        Assert.Throws<KeyNotFoundException>(() => NameMap<string>.Empty["a"]);
        Assert.Same(NameMap<string>.Empty, NameMap<string>.Empty.Edit().ToMap());
    }

    [Fact]
    public void NamesAreInOrdinalOrder() => Assert.Equal(["B", "a", "a/", "a0", "ä"], Of("a0", "ä", "a/", "B", "a").Keys);

    /// <summary>Beside a dictionary of .NET, through growth and shrinking: each version is what it was when it was made, whatever came after.</summary>
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 40)]
    [InlineData(3, 700)]
    public void VersionsAreAsTheyWereMade(int seed, int changesOfOne)
    {
        var random = new Random(seed);
        var model = new SortedDictionary<string, string>(StringComparer.Ordinal);
        NameMap<string> map = NameMap<string>.Empty;
        var versions = new List<(NameMap<string> Map, KeyValuePair<string, string>[] Expected)>();
        for (int version = 0; version < 60; version++)
        {
            NameMap<string>.Editor editor = map.Edit();
            for (int i = 0; i < changesOfOne * 10; i++)
            {
                // Names side by side, as they come in bulk, and anywhere; for a while more come than go, then the other way round.
                string name = s_names[random.Next(2) == 0 ? (random.Next(30) * 100 + i) % s_names.Length : random.Next(s_names.Length)];
                Assert.Equal(model.GetValueOrDefault(name), editor.GetValueOrDefault(name));
                if (random.Next(100) < (version < 30 ? 80 : 20))
                {
                    editor.Set(name, $"{name} {version}");
                    model[name] = $"{name} {version}";
                }
                else
                {
                    editor.Remove(name);
                    model.Remove(name);
                }
            }
            map = editor.ToMap();
            versions.Add((map, [.. model]));
        }
        foreach ((NameMap<string> made, KeyValuePair<string, string>[] expected) in versions)
        {
            Assert.Equal(expected, made);
            Assert.Equal((expected.Length, expected.Length == 0), (made.Count, made.IsEmpty));
            Assert.Equal(expected.Select(e => e.Value), made.Values);
            var present = expected.ToDictionary(StringComparer.Ordinal);
            Assert.All(s_names, name => Assert.Equal(present.GetValueOrDefault(name), made.GetValueOrDefault(name)));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(-1)]
    [InlineData(7)]
    public void AllComesAndGoesInOrder(int step)
    {
        string[] order = [.. Enumerable.Range(0, s_names.Length).Select(i => s_names[(int)((uint)(i * step + s_names.Length * 7) % s_names.Length)])];
        NameMap<string>.Editor editor = NameMap<string>.Empty.Edit();
        Array.ForEach(order, name => editor.Set(name, name));
        NameMap<string> all = editor.ToMap();
        Assert.Equal(order.Order(StringComparer.Ordinal), all.Keys);
        Array.ForEach(order, editor.Remove);
        Assert.Empty(editor.ToMap());
        Assert.Equal(s_names.Length, all.Keys.Count());
    }

    [Fact]
    public void NamesBehindOne()
    {
        NameMap<string> map = Of([.. s_names.Where((_, i) => i % 2 == 0)]);
        for (int i = 0; i < s_names.Length; i += 37)
        {
            Assert.Equal(map.Keys.Where(n => string.CompareOrdinal(n, s_names[i]) > 0), map.NamesAfter(s_names[i]));
        }
        Assert.Empty(map.NamesAfter("z"));
        Assert.Equal(map.Keys, map.NamesAfter("!"));
    }

    [Fact]
    public void AnEditorThatChangesNothingGivesTheMapBack()
    {
        NameMap<string> map = Of(s_names);
        NameMap<string>.Editor editor = map.Edit();
        Assert.Equal(s_names[7], editor.GetValueOrDefault(s_names[7]));
        editor.Remove("nobody");
        Assert.Same(map, editor.ToMap());
    }

    /// <summary>An editor goes on after a map was taken from it, which it leaves alone.</summary>
    [Fact]
    public void AnEditorGoesOn()
    {
        NameMap<string>.Editor editor = NameMap<string>.Empty.Edit();
        editor.Set("a", "1");
        NameMap<string> first = editor.ToMap();
        editor.Set("a", "2");
        editor.Set("b", "2");
        Assert.Equal("1", Assert.Single(first).Value);
        Assert.Equal(["2", "2"], editor.ToMap().Values);
    }

    private static NameMap<string> Of(params string[] names)
    {
        NameMap<string>.Editor editor = NameMap<string>.Empty.Edit();
        Array.ForEach(names, name => editor.Set(name, name));
        return editor.ToMap();
    }
}
