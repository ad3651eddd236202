"""Tasks that are drawn, not measured, to compare recurrent cells by: who keeps the long past, and who not.

The tasks need NumPy alone; training them needs torch.
"""

from gatewise.tasks.synthetic import arithmetic, memory, order, reber
from gatewise.tasks.synthetic.task import Loss, Sequences, Task

__all__ = ["TASKS", "Loss", "Sequences", "Task"]

TASKS: dict[str, Task] = {
    task.name: task for module in (arithmetic, order, memory, reber) for task in module.TASKS
}
