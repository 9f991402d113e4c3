using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>What is measured between two containers.</summary>
public enum TapFigure
{
    /// <summary>Gb/s of one TCP stream.</summary>
    TcpOne,
    /// <summary>The other way round.</summary>
    TcpOneBack,
    /// <summary>Gb/s of several TCP streams at once.</summary>
    TcpMany,
    TcpManyBack,
    /// <summary>Small UDP packets per second that the sender made.</summary>
    UdpSent,
    /// <summary>Of these, packets per second that arrived.</summary>
    Udp,
    /// <summary>Microseconds of a request and its answer.</summary>
    RoundTripMedian,
    RoundTripP99,
    RoundTripP999,
    RoundTripWorst,
    /// <summary>CPUs that the switch's processes take when nothing is to be done.</summary>
    IdleCpu,
}

/// <summary>All runs over one kind of network.</summary>
/// <param name="name">Of what connects the containers.</param>
/// <param name="streams">TCP streams of <see cref="TapFigure.TcpMany"/>.</param>
public sealed class TapResult(string name, int streams)
{
    private readonly Dictionary<TapFigure, List<double>> _values = [];

    public string Name { get; } = name;
    public int Streams { get; } = streams;

    /// <summary>The figures of each run.</summary>
    public IReadOnlyDictionary<TapFigure, List<double>> Values => _values;

    /// <summary>Best, median and spread over the runs. More is better of bits and packets, less of times.</summary>
    public Summary this[TapFigure figure] => (figure <= TapFigure.Udp ? Summary.OfHigh(_values[figure]) : Summary.OfLow(_values[figure]))!.Value;

    public void Add(TapFigure figure, double value)
    {
        if (!_values.TryGetValue(figure, out List<double>? values))
        {
            _values.Add(figure, values = []);
        }
        values.Add(value);
    }

    public double Last(TapFigure figure) => _values[figure][^1];
}
