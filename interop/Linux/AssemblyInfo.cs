using System.Runtime.CompilerServices;

// The tests compare the private constants and structures here with the C headers.
[assembly: InternalsVisibleTo("Dataplane.UnitTests")]
