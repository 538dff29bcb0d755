import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robomem.errors import UnknownName
from robomem.types import Context, JointCommand
from sim.envs import TASKS, TaskEnv
from sim.experts import Demonstrator
from tests.sim.demonstrations import panda

IDS = [f"robomem/{name.title().replace('_', '')}-v0" for name in TASKS]


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_it_passes_gymnasium_s_own_check(env_id: str, render_mode: str | None) -> None:
    env = gymnasium.make(env_id, render_mode=render_mode)
    check_env(env.unwrapped)
    env.close()


def test_the_three_tasks_have_their_names() -> None:
    assert "robomem/PushButtons-v0" in IDS


@pytest.mark.parametrize("name", TASKS)
def test_an_episode_stays_in_its_space_and_its_rewards_add_up_to_the_score(name: str) -> None:
    env = TaskEnv(name, image_size=16)
    obs, info = env.reset(seed=4)
    expert = Demonstrator(env.robot, panda())
    expert.start(4)
    total, over = info["score"], False
    while not over:
        assert obs in env.observation_space
        expert.submit(env.robot.observe(), Context(obs["instruction"]))
        values, gripper = expert.take().at(env.robot.now())
        action = env.action_for(JointCommand(values, gripper))
        assert action in env.action_space
        obs, reward, terminated, truncated, info = env.step(action)
        total, over = total + reward, terminated or truncated
    assert info["success"] and terminated and not truncated
    assert total == pytest.approx(info["score"]) == 1.0
    env.close()


def test_actions_are_joint_targets_over_their_range() -> None:
    env = TaskEnv("push_buttons", image_size=16)
    env.reset(seed=1)
    command = JointCommand(env.robot.rest_joint_pos + 0.01, 0.25)
    env.step(env.action_for(command))
    np.testing.assert_allclose(env.robot.command(command).joint_pos, command.joint_pos, atol=1e-12)
    assert (env.action_for(JointCommand(env.robot.limits.upper, 1.0)) == 1).all()
    assert (env.action_for(JointCommand(env.robot.limits.lower, 0.0)) == -1).all()
    env.close()


def test_without_a_seed_episodes_differ() -> None:
    env = TaskEnv("push_buttons", image_size=16)
    env.reset(seed=1)
    told = {env.reset()[0]["instruction"] for _ in range(8)}
    assert len(told) > 1
    env.close()


def test_an_unknown_task_or_render_mode_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="no task 'push_button'"):
        TaskEnv("push_button")
    with pytest.raises(UnknownName, match="rgb_array"):
        TaskEnv("push_buttons", render_mode="human")


def test_a_recorded_video_runs_at_the_speed_of_the_arm() -> None:
    with_other_rate = gymnasium.make("robomem/PushButtons-v0", hz=25.0, camera_hz=12.5)
    assert (with_other_rate.metadata["render_fps"], TaskEnv.metadata["render_fps"]) == (25, 20)
