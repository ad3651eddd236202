import sys

from data import Timer, load_texts

train, test = load_texts(sys.argv[1])
timer = Timer()
# begin
from gatewise.tasks import Writer

writer = Writer(seed=int(sys.argv[2]), max_epochs=5).fit(train)
bits = -writer.score(test)
# end
timer.score(bits, lambda count: writer.write(count, seed=1)[0])
