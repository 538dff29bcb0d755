"""robomem: a control stack for robot arms that remember."""
