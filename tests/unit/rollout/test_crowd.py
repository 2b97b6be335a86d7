"""Whether a machine is too busy with other work for latency to say anything."""

from homeport.rollout.crowd import Crowd


def test_other_work_on_most_of_the_machine_is_a_crowd():
    crowd = Crowd(cores=2)
    crowd.look(0.0, 100.0, {7: 10.0})
    assert not crowd.is_crowded([7])
    crowd.look(1.0, 101.9, {7: 10.1})
    assert crowd.is_crowded([7])


def test_what_the_release_does_itself_is_none():
    crowd = Crowd(cores=2)
    crowd.look(0.0, 100.0, {7: 10.0})
    crowd.look(1.0, 101.9, {7: 11.0})
    assert not crowd.is_crowded([7])


def test_where_the_machine_does_not_tell_nothing_is_a_crowd():
    crowd = Crowd(cores=2)
    crowd.look(0.0, None, {7: 10.0})
    crowd.look(1.0, None, {7: 11.0})
    assert not crowd.is_crowded([7])


def test_a_process_that_was_not_there_before_did_nothing_yet():
    crowd = Crowd(cores=1)
    crowd.look(0.0, 100.0, {})
    crowd.look(1.0, 101.0, {7: 50.0})
    assert crowd.is_crowded([7])
