import sys

from data import Timer, load

X, y = load(sys.argv[1])
X_test, y_test = load(sys.argv[2])
timer = Timer()
# begin
from gatewise.tasks import Classifier

classifier = Classifier(seed=int(sys.argv[3])).fit(X, y)
predicted = classifier.predict(X_test)
# end
timer.report(predicted, y_test)
