namespace Dataplane.Tables;

/// <summary>A change of one prefix, as it is made in the node where the prefix ends.</summary>
/// <param name="Prefix">The prefix.</param>
/// <param name="Owner">The owner of its slots; of a removal, what takes its place, perhaps 0.</param>
/// <param name="IsRemoval">The prefix goes.</param>
internal readonly record struct RouteChange(RoutePrefix Prefix, uint Owner, bool IsRemoval)
{
    /// <summary>Changes the slots that belong to the prefix and to no longer one.</summary>
    public void ApplyTo(Span<RouteSlot> slots)
    {
        int bits = Prefix.BitsInLastByte;
        int first = (int)Prefix.ByteAt(Prefix.LastByte);
        foreach (ref RouteSlot slot in slots.Slice(first, RouteNode.Fanout >> bits))
        {
            if (IsRemoval ? slot.Owner != 0 && slot.OwnerBits == bits : slot.OwnerBits <= bits)
            {
                slot = slot with { Owner = Owner };
            }
        }
    }
}
