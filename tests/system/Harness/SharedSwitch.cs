namespace Dataplane.SystemTests.Harness;

/// <summary>One running switch for the tests that do not kill it; each has a network and containers of its own on it.</summary>
public sealed class SharedSwitch : IDisposable
{
    public Switch Switch { get; } = Switch.Started();

    public void Dispose() => Switch.Dispose();
}

/// <summary>Tests on <see cref="SharedSwitch"/>.</summary>
[CollectionDefinition(Name)]
public sealed class SharedSwitchTests : ICollectionFixture<SharedSwitch>
{
    public const string Name = "shared switch";
}
