import sys

from data import Timer, load

X, y = load(sys.argv[1])
X_test, y_test = load(sys.argv[2])
timer = Timer()
# begin
import numpy as np
import torch
from sklearn.preprocessing import LabelEncoder
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping

torch.manual_seed(int(sys.argv[3]))
np.random.seed(int(sys.argv[3]))
steps = np.concatenate(X)
mean, scale = steps.mean(0), steps.std(0)
longest = max(map(len, X + X_test))


def padded(sequences):
    scaled = [(x - mean) / scale for x in sequences]
    rows = [np.pad(x, ((0, longest - len(x)), (0, 0))) for x in scaled]
    return {
        "x": np.stack(rows).astype(np.float32),
        "lengths": np.array([len(x) for x in sequences]),
    }


class Network(torch.nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.gru = torch.nn.GRU(channels, 64, batch_first=True, bidirectional=True)
        self.head = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(128, classes))

    def forward(self, x, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        h = self.gru(packed)[1]
        return self.head(torch.cat([h[0], h[1]], dim=-1))


encoder = LabelEncoder().fit(y)
classifier = NeuralNetClassifier(
    Network,
    module__channels=X[0].shape[1],
    module__classes=len(encoder.classes_),
    criterion=torch.nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=3e-3,
    max_epochs=40,
    batch_size=32,
    callbacks=[EarlyStopping(patience=8, load_best=True)],
    verbose=0,
)
classifier.fit(padded(X), encoder.transform(y))
predicted = encoder.inverse_transform(classifier.predict(padded(X_test)))
# end
timer.report(predicted, y_test)
