namespace Dataplane.Tables;

/// <summary>How far a search has to go (<see cref="ConnectionWay.Reach"/>): see <see cref="ConnectionTable"/>.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>
    /// Frees a slot if it is still as it was found. When it was the last one of its home, searches that begin there end sooner from now on:
    /// with connections that come and go each home would reach as far as it ever had to, else.
    /// </summary>
    /// <param name="slots">The family.</param>
    /// <param name="index">The slot.</param>
    /// <param name="control">As it was found.</param>
    /// <param name="remembers">It is to be found as one that is gone, until another entry takes it.</param>
    private bool TryFree(in ConnectionSlots slots, uint index, ulong control, bool remembers = false)
    {
        ConnectionHead* head = slots.At(index);
        if (CompareExchange(ref head->Control, remembers ? ConnectionControl.Gone(control) : ConnectionControl.Free(control), control) != control)
        {
            return false;
        }
        CountSlots(in slots, -1);
        if (!remembers)
        {
            LowerReach(in slots, index - ConnectionControl.Distance(control), index);
        }
        return true;
    }

    /// <summary>Lowers the reach of a home when the slot that nothing of it is in any more was the last one that it reached.</summary>
    private void LowerReach(in ConnectionSlots slots, uint home, uint index)
    {
        uint distance = index - home;
        if (distance - 1 < Window - 1 && (uint)ConnectionWay.Reach(Volatile.Read(ref slots.At(home)->Way)) == distance)
        {
            LowerReach(in slots, home);
        }
    }

    /// <summary>Makes a home reach at least so far. After taking the slot and before proposing it: see <see cref="LowerReach"/>.</summary>
    private bool TryReach(in ConnectionSlots slots, uint home, uint distance)
    {
        ref ulong way = ref slots.At(home)->Way;
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong was = Volatile.Read(ref way);
            if (ConnectionWay.Reach(was) >= (int)distance && (was & ConnectionWay.Lowering) == 0)
            {
                return true;
            }
            ulong raised = (was & ~ConnectionWay.PlaceMask) | Math.Max(distance, (uint)ConnectionWay.Reach(was));
            if (CompareExchange(ref way, raised, was) == was)
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>
    /// Makes a home reach no further than it has to. First it is marked. Who makes an entry takes its slot, and then removes the mark: either
    /// this sees the slot, or it sees that the mark is gone, and leaves everything as it is.
    /// </summary>
    private void LowerReach(in ConnectionSlots slots, uint home)
    {
        ref ulong way = ref slots.At(home)->Way;
        int reach = ConnectionWay.Reach(Volatile.Read(ref way));
        if (reach == 0 || Needs(in slots, home, reach))
        {
            return;
        }
        Or(ref way, ConnectionWay.Lowering);
        reach = ConnectionWay.Reach(Volatile.Read(ref way));
        while (reach > 0 && !Needs(in slots, home, reach))
        {
            reach--;
        }
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong was = Volatile.Read(ref way);
            if ((was & ConnectionWay.Lowering) == 0
                || CompareExchange(ref way, (was & ~ConnectionWay.PlaceMask) | (uint)reach, was) == was)
            {
                return;
            }
        }
    }

    /// <summary>Whether there is, or may be, an entry of a home at some distance, or one that is gone and remembered.</summary>
    private static bool Needs(in ConnectionSlots slots, uint home, int distance)
    {
        ulong control = Volatile.Read(ref slots.At(home + (uint)distance)->Control);
        return ConnectionControl.Distance(control) == (uint)distance && (ConnectionControl.Phase(control) != ConnectionPhase.Free || ConnectionControl.IsGone(control));
    }
}
