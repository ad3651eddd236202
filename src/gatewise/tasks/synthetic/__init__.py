"""Synthetic tasks with random sequences, which compare how far back recurrent cells can remember.

The tasks need NumPy alone; training them needs torch.
"""

from gatewise.tasks.synthetic import arithmetic, memory, order, reber
from gatewise.tasks.synthetic.task import Loss, Sequences, Task

__all__ = ["TASKS", "Loss", "Sequences", "Task"]

TASKS: dict[str, Task] = {
    task.name: task for module in (arithmetic, order, memory, reber) for task in module.TASKS
}
