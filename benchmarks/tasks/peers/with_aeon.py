import sys

from data import Timer, load

X, y = load(sys.argv[1])
X_test, y_test = load(sys.argv[2])
timer = Timer()
# begin
from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

classifier = KNeighborsTimeSeriesClassifier(n_neighbors=1, distance="dtw")
classifier.fit([x.T for x in X], y)
predicted = classifier.predict([x.T for x in X_test])
# end
timer.report(predicted, y_test)
