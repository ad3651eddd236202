import sys

from data import Timer, flat, load_sentences

X, y = load_sentences(sys.argv[1])
X_test, y_test = load_sentences(sys.argv[2])
timer = Timer()
# begin
import copy
import random
from collections import Counter

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

EPOCHS, BATCH = 8, 32
KINDS = [slice(n) for n in (1, 2, 3)] + [slice(-n, None) for n in (1, 2, 3, 4)]
random.seed(int(sys.argv[3]))
torch.manual_seed(int(sys.argv[3]))
order = random.sample(range(len(X)), len(X))
checked, trained = order[: len(X) // 10], order[len(X) // 10 :]
counts = Counter(word for row in trained for word in X[row])
words = {word: k for k, word in enumerate(counts, 2)}
characters = {c: k for k, c in enumerate(sorted({c for word in counts for c in word}), 4)}
affixes = []
for kind in KINDS:
    found = Counter(word[kind] for row in trained for word in X[row])
    affixes.append({part: k for k, part in enumerate((p for p in found if found[p] > 1), 1)})
tags = {tag: k for k, tag in enumerate(sorted({tag for sentence in y for tag in sentence}))}
names = list(tags)


def batch(sentences):
    every = [word for sentence in sentences for word in sentence]
    spelled = [[2, *(characters.get(c, 1) for c in word[:8] + word[8:][-14:]), 3] for word in every]
    ends = [[table.get(word[kind], 0) for kind, table in zip(KINDS, affixes)] for word in every]
    return (
        torch.tensor([words.get(word, 1) for word in every]),
        torch.tensor([counts[word] for word in every]),
        pad_sequence([torch.tensor(ids) for ids in spelled], batch_first=True),
        torch.tensor(ends),
        [len(sentence) for sentence in sentences],
    )


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(words) + 2, 100, padding_idx=0)
        self.characters = nn.Embedding(len(characters) + 4, 32, padding_idx=0)
        self.affixes = nn.ModuleList(nn.Embedding(len(table) + 1, 24) for table in affixes)
        nn.init.normal_(self.words.weight, std=0.1)
        for table in (self.characters, *self.affixes):
            nn.init.normal_(table.weight, std=0.3)
        self.convolution = nn.Conv1d(32, 64, 3, padding=1)
        self.lstm = nn.LSTM(100 + 64 + 24 * len(KINDS), 128, num_layers=2, bidirectional=True, dropout=0.4)
        self.dropout = nn.Dropout(0.4)
        self.head = nn.Linear(256, len(tags))

    def forward(self, ids, often, spelled, ends, lengths):
        if self.training:
            ids = ids.masked_fill(torch.rand(len(ids)) < 0.25 / (0.25 + often), 1)
        shapes = self.convolution(self.characters(spelled).mT)
        outside = (spelled == 0)[:, None]
        shapes = shapes.masked_fill(outside, -torch.inf).amax(2).relu()
        parts = [table(ends[:, k]) for k, table in enumerate(self.affixes)]
        x = self.dropout(torch.cat([self.words(ids), shapes, *parts], dim=1))
        x = pad_sequence(x.split(lengths))
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output = pad_packed_sequence(self.lstm(packed)[0])[0]
        rows = torch.cat([output[:n, k] for k, n in enumerate(lengths)])
        return self.head(self.dropout(rows))


def predict(network, sentences):
    network.eval()
    made = []
    with torch.no_grad():
        for first in range(0, len(sentences), 64):
            chosen = sentences[first : first + 64]
            best = iter(network(*batch(chosen)).argmax(1).tolist())
            made += [[names[next(best)] for _ in sentence] for sentence in chosen]
    return made


network = Network()
optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
steps = -(-len(trained) // BATCH)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=EPOCHS * steps, pct_start=0.2)
loss = nn.CrossEntropyLoss(label_smoothing=0.1)
best, kept = -1.0, {}
for _ in range(EPOCHS):
    random.shuffle(trained)
    batches = []
    for first in range(0, len(trained), 50 * BATCH):  # sentences of similar length together
        part = sorted(trained[first : first + 50 * BATCH], key=lambda row: len(X[row]))
        batches += [part[k : k + BATCH] for k in range(0, len(part), BATCH)]
    random.shuffle(batches)
    network.train()
    for rows in batches:
        truth = torch.tensor([tags[tag] for row in rows for tag in y[row]])
        error = loss(network(*batch([X[row] for row in rows])), truth)
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    made = predict(network, [X[row] for row in checked])
    right = sum(a == b for row, each in zip(checked, made) for a, b in zip(y[row], each))
    if right > best:
        best, kept = right, copy.deepcopy(network.state_dict())
network.load_state_dict(kept)
predicted = predict(network, X_test)
# end
timer.report(flat(predicted), flat(y_test))
