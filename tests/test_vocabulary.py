"""The shipped encoder knows every word that the tasks say."""

import pytest

from policies.vlm.nano import UNKNOWN, NanoConfig, tokenize
from sim.robot import SimRobot
from sim.tasks.clear_table import ClearTable
from sim.tasks.guess_where import GuessWhere
from sim.tasks.push_buttons import PushButtons


@pytest.mark.parametrize("task", [PushButtons, GuessWhere, ClearTable])
def test_every_word_of_every_instruction_is_known(task) -> None:
    robot, said = SimRobot(task(), cameras=()), set()
    for seed in range(60):
        robot.reset(seed)
        said.add(robot.task.instruction)
    assert len(said) > 1
    for instruction in said:
        assert UNKNOWN not in tokenize(instruction, NanoConfig().words), instruction
        assert len(instruction.split()) <= NanoConfig().words
