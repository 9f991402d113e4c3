namespace Dataplane.Stages;

public static unsafe partial class RouteStage
{
    private static bool TryNoteFragment(ref Routed packet) => true;

    private static bool TryTrackFragment(ref Routed packet) => IsForNoService(ref packet);
}
