"""Sentences to run a model on where no task's text is at hand: of a word, of a line, and longer than most inputs.

They have no labels and say nothing about a score; what two forms of one model answer on them is compared.
"""

_LONG = (
    "When the ferry finally came around the headland, two hours late and with only half of its lights burning, the "
    "people on the pier had already shared their bread, their coats and most of their stories, so that nobody minded "
    "very much when the captain, a small man with a large voice, explained that the engine had stopped three times on "
    "the way, that the cook had repaired it with a spoon, and that there would be soup for everybody who was willing "
    "to peel potatoes during the crossing."
)
# In an order that mixes lengths, so that every batch taken from the front is padded.
PROBE_SENTENCES = (
    "The lamp on the second floor was still burning when we came home.",
    "Good.",
    "It is not that the plot is bad; there simply is none.",
    "She asked him whether the train to Lisbon had left, and he said that it had not even arrived yet.",
    "Why would anybody pay 12.50 for that?",
    "no",
    "The new bridge opened on Tuesday, three years late and twice as expensive as the council had promised.",
    "A warm, funny and quietly clever film that never talks down to its audience.",
    "He denied having seen the letter.",
    "He said that he had never seen the letter.",
    "I would not recommend it to anyone I like.",
    "Rain tomorrow, sun on Friday.",
    _LONG,
    "What is the shortest way from the station to the harbour?",
    "How do I get from the harbour to the station?",
    "The company reported a loss of $4.2 million for the quarter, after a profit of $1.1 million a year earlier.",
    "Every child was given an apple; some of them got two.",
    "Some children got an apple.",
    "utterly, completely, gloriously pointless",
    "The cat that the dog chased ran under the car.",
    "If the valve sticks again, close the main, wait ten minutes and call the number on the door.",
    "It was raining.",
    "Naïve café owners don't serve crème brûlée at 7 a.m., do they?",
    "There are 27 islands in the lake, of which only four have a name on the map that was printed in 1911.",
    "Nobody who has read the book will be surprised, and nobody who has not will understand.",
    "The acting is fine.",
    "The acting is far from fine.",
    "Two teams have played here since March; neither has won.",
    "He put the key where he always puts it, and, as always, could not find it there.",
    "The committee that was to decide on the plan has postponed the decision until the plan has been changed.",
    "Call me when you can :-)",
    "The doctor told the nurse that her shift was over.",
)
