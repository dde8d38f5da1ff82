"""Grades a zoo of submissions of one problem set through nbgrader, each submission alone.

This docstring is the contract between a set, its zoo and the grader.

The source of a set: assignments/source/psN/psN.ipynb
-----------------------------------------------------
It is the only source, committed without outputs. `make assignments` makes the release from it.
The id of each cell of nbgrader is its ``grade_id``, and both are one of these:

* ``setup``: code, locked, no marks. Imports, data, networks that the tasks use. It stands before
  all tasks. Slow things (TensorFlow, data) belong here: a zoo runs this cell once.
* ``solution-1a``: code, the student's cell. The text above it names the function to write, its
  arguments with shapes, and what it returns. The solution stands between ``### BEGIN SOLUTION``
  and ``### END SOLUTION``; the ``def`` line and the docstring stand before and are released.
* ``test-1a``: code, locked, with marks. A solution cell has one test cell. Its first line is
  ``# Task 1a, 3 marks: notebook 01, section "The loss as a heading"``; a sentence about a crash
  or a hang takes the place in the course from there. The visible check comes first; the hidden
  ones stand between ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS``.
* ``text-4``: markdown, marked by hand. Its model answer stands between the marks of a solution.

Other cells are markdown with a name as id (``title``, ``task-1``), without nbgrader's metadata.
A set has 20 marks, those of the text included. A test cell

* imports what it uses, and takes nothing but the student's names and those of ``setup``;
* sets no global seed, and needs none: random answers are judged with a margin of six standard
  errors or more, so that three runs give the same marks;
* turns an answer into numbers first: ``came = np.asarray(answer, "float64")``. Then it asserts
  the shape, and then the values: NaN must fail, so write ``assert error < limit``, never
  ``assert not error > limit``;
* has one sentence in each assert: what was expected, what came, where it stands in the course.
  The sentence never names the cure ("the factor 1/2 is missing"). An exception, a hang and a
  missing name need no assert: `assignments/grading_steps.py` makes a sentence of each.

The zoo of a set: tests/assignments/test_psN.py
-----------------------------------------------
``SUBMISSIONS`` is a dict of name -> ``Submission(cells, loses=..., says=...)``.

* ``cells``: a dict of cell id -> the student's source. A solution cell that is not named has the
  source's own solution. ``edited("psN", "solution-2", old, new)`` is that solution with one
  change. A test cell may be named, too: its source is then what a student made of it, and
  ``None`` says that the student deleted it.
* ``loses``: the ids of the test cells that give no mark. The others must give all of theirs.
* ``says``: a part of the sentence that the feedback must give for each test that is lost.
* ``seconds``: the time limit of this submission's cells, for one that hangs (else that of
  ``nbgrader_config.py``).
* ``leaves_out``: ids of cells that this submission is graded without, to save time. Use it where
  a test cell is slow and another task is being tried.

The test file then reads::

    graded = graded_zoo("psN", SUBMISSIONS)

    @pytest.mark.parametrize("name", SUBMISSIONS)
    def test_a_submission_gets_its_marks_and_a_sentence_for_each_lost(graded, name):
        graded.judge(name)

How it is graded
----------------
One notebook carries all submissions of the zoo: ``setup`` once, then for each submission the
solution, test and text cells of the release with ``--07`` behind their ids. Before each
submission a cell puts the names back that ``setup`` left, so that no submission sees another's.
The same is done to the source. Then `tools/grade_assignments.py` grades this one notebook in
`.venv-teacher` as it grades any student's: nbgrader restores tampered tests, interrupts what
hangs, gives the marks and writes the feedback. A submission that changes a module in place would
be seen by the next ones: do not write such a one.
"""
