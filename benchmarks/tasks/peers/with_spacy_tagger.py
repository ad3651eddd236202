import sys

from data import Timer, flat, load_sentences

X, y = load_sentences(sys.argv[1])
X_test, y_test = load_sentences(sys.argv[2])
timer = Timer()
# begin
import random

import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch

fix_random_seed(int(sys.argv[3]))
nlp = spacy.blank("xx")
nlp.add_pipe("tagger")


def document(words, tags=None):
    return Doc(nlp.vocab, words=words, tags=tags)


examples = [Example(document(words), document(words, tags)) for words, tags in zip(X, y)]
optimizer = nlp.initialize(lambda: examples)
for _ in range(8):
    random.shuffle(examples)
    for batch in minibatch(examples, size=32):
        nlp.update(batch, drop=0.1, sgd=optimizer)
docs = nlp.pipe([document(words) for words in X_test])
predicted = [[token.tag_ for token in doc] for doc in docs]
# end
timer.report(flat(predicted), flat(y_test))
