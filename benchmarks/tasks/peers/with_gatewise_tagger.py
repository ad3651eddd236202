import sys

from data import Timer, flat, load_sentences

X, y = load_sentences(sys.argv[1])
X_test, y_test = load_sentences(sys.argv[2])
timer = Timer()
# begin
from gatewise.tasks import Tagger

tagger = Tagger(seed=int(sys.argv[3]), max_epochs=8).fit(X, y)
predicted = tagger.predict(X_test)
# end
timer.report(flat(predicted), flat(y_test))
