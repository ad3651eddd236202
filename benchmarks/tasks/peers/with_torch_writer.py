import sys

from data import Timer, load_texts

train, test = load_texts(sys.argv[1])
timer = Timer()
# begin
import copy
import math

import torch
from torch import nn

EPOCHS, ROWS, STEPS = 5, 32, 64
torch.manual_seed(int(sys.argv[2]))
letters = sorted(set(train))
numbers = {letter: k for k, letter in enumerate(letters, 1)}  # 0: a letter that training lacks
stop = len(train) * 9 // 10


def encoded(text):
    return torch.tensor([numbers.get(letter, 0) for letter in text])


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(letters) + 1, 32)
        self.lstm = nn.LSTM(32, 256)
        self.dropout = nn.Dropout(0.35)
        self.head = nn.Linear(256, len(letters) + 1)

    def forward(self, ids, state=None):
        output, state = self.lstm(self.embedding(ids), state)
        return self.head(self.dropout(output)), state


def bits_of(network, ids):
    network.eval()
    total, state = 0.0, None
    with torch.no_grad():
        for first in range(0, len(ids) - 1, 256):
            part = ids[first : first + 257, None]
            scores, state = network(part[:-1], state)
            total += nn.functional.cross_entropy(scores[:, 0], part[1:, 0], reduction="sum").item()
    return total / math.log(2) / (len(ids) - 1)


def write(network, count):
    network.eval()
    made, state = [numbers["\n"]], None
    with torch.no_grad():
        for _ in range(count):
            scores, state = network(torch.tensor([[made[-1]]]), state)
            made.append(int(torch.multinomial(scores[0, 0, 1:].softmax(0), 1)) + 1)
    return "".join(letters[k - 1] for k in made[1:])


rows = encoded(train[:stop])
rows = rows[: len(rows) // ROWS * ROWS].view(ROWS, -1).T
checked = encoded(train[stop:])
network = Network()
optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
windows = (len(rows) - 1) // STEPS
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=EPOCHS * windows)
average = torch.optim.swa_utils.AveragedModel(
    network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
)
best, kept = math.inf, None
for _ in range(EPOCHS):
    network.train()
    state = None
    for first in range(0, windows * STEPS, STEPS):
        part = rows[first : first + STEPS + 1]
        scores, state = network(part[:-1], state)
        state = tuple(each.detach() for each in state)
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), part[1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
    for each in (network, average.module):
        bits = bits_of(each, checked)
        if bits < best:
            best, kept = bits, copy.deepcopy(each)
bits = bits_of(kept, encoded(test))
# end
timer.score(bits, lambda count: write(kept, count))
