namespace Dataplane.Control.Runtime;

/// <summary>How to take back what a batch has done so far, last step first.</summary>
internal sealed class UndoStack
{
    private readonly Stack<Action> _steps = new();

    /// <summary>Notes how to take back the step just done.</summary>
    public void Push(Action step) => _steps.Push(step);

    /// <summary>Takes everything back. A step that fails does not keep the others from being taken back; gives the failures.</summary>
    public List<Exception> Run()
    {
        var failures = new List<Exception>();
        while (_steps.TryPop(out Action? step))
        {
            try
            {
                step();
            }
            catch (Exception e)
            {
                failures.Add(e);
            }
        }
        return failures;
    }
}
